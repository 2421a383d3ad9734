"""Dictionary features over a corpus: gradients, activations or their product, layer by layer."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.data.batches import Batch, Passages
from backlight.dictionaries.dictionary import Dictionary
from backlight.dictionaries.gradients import absolute_sums, gradients_where_active
from backlight.models.subject import Subject
from backlight.stats.base import Kept, prefixed, taken, under, wide
from backlight.stats.ratio import Ratios
from backlight.stats.second_moment import SecondMoment
from backlight.stats.sparse import Entries, SparseMoments
from backlight.stats.top import LargestTokens
from backlight.surveys.features.measure.feature_pass import FeaturePlan, Load, Observation, Walk
from backlight.surveys.features.measure.placement import Place, Trial, number_format

_NUM_LARGEST = 512
_NUM_TOP = 3

_Gradients = tuple[Tensor, list[int]]
"""g of a batch's tokens without pads, and how many tokens each sequence has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Some work that was done.

    Attributes:
        num_tokens: Tokens times layers.
        resumable: The state is one that can be kept and gone on from.
    """

    num_tokens: int
    resumable: bool


@final
class LayerFeatures:
    """All that was seen of one layer's features.

    Attributes:
        moment: Of g, dL/d(reconstruction) times the token's scale; dense gradients only.
        largest: The tokens where g is largest; dense gradients only.
        absolute: Mean sizes of features' gradients; dense gradients only, and if asked for.
        sparse: Statistics from the tokens where features fire; None for dense gradients.
        counts: At how many tokens each feature fired; None if not all tokens were encoded.
        nats: The cross-entropy of all predicted tokens, summed.
        num_predicted: How many tokens were predicted.
    """

    def __init__(self, plan: FeaturePlan, num_features: int, width: int) -> None:
        dense = plan.is_dense
        self.moment = SecondMoment(width) if dense else None
        self.largest = LargestTokens(width, k=_NUM_LARGEST, stride=plan.stride) if dense else None
        self.absolute = Ratios(num_features, shared_below=True) if dense and plan.absolute else None
        self.sparse = (
            None
            if dense
            else SparseMoments(num_features, active_only=plan.active_only, num_top=_NUM_TOP)
        )
        self.counts = np.zeros(num_features, dtype=np.int64) if plan.encodes else None
        self.num_tokens = 0
        self.num_sequences = 0
        self.nats = 0.0
        self.num_predicted = 0

    def state(self) -> dict[str, NDArray[Any]]:
        """Give all that was seen as arrays; ``restore`` takes them back."""
        numbers = (self.num_tokens, self.num_sequences, self.num_predicted)
        own = {"numbers": np.array(numbers, dtype=np.int64), "nats": np.array(self.nats)}
        if self.counts is not None:
            own["counts"] = self.counts
        return own | prefixed(self._parts())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state."""
        self.num_tokens, self.num_sequences, self.num_predicted = (
            int(number) for number in taken(state, "numbers", np.zeros(3, dtype=np.int64))
        )
        self.nats = float(taken(state, "nats", np.zeros(())))
        if self.counts is not None:
            self.counts = taken(state, "counts", self.counts)
        for name, part in self._parts().items():
            part.restore(under(name, state))

    def _parts(self) -> dict[str, Kept]:
        parts = {
            "moment": self.moment,
            "largest": self.largest,
            "absolute": self.absolute,
            "sparse": self.sparse,
        }
        return {name: part for name, part in parts.items() if part is not None}


@final
class FeatureSurvey:
    """What was seen so far, and how far the survey has come.

    Attributes:
        layers: What was seen of each layer.
        num_chunks: How many chunks of the corpus are done.
        num_layers: How many layers of the next chunk are done.
        num_steps: Tokens times layers that are done.
    """

    def __init__(self, plan: FeaturePlan, sizes: Mapping[int, tuple[int, int]]) -> None:
        """Start with nothing seen.

        Args:
            plan: What is to be measured.
            sizes: Each layer's number of features, and the width of what they add up to.
        """
        self.layers = {layer: LayerFeatures(plan, *size) for layer, size in sizes.items()}
        self.num_chunks = 0
        self.num_layers = 0
        self.num_steps = 0

    def state(self) -> dict[str, NDArray[Any]]:
        """Give everything as plain arrays; ``restore`` takes them back bit by bit."""
        position = np.array([self.num_chunks, self.num_layers, self.num_steps], dtype=np.int64)
        layers = {str(layer): features for layer, features in self.layers.items()}
        return {"position": position, **prefixed(layers)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state."""
        position = taken(state, "position", np.zeros(3, dtype=np.int64))
        self.num_chunks, self.num_layers, self.num_steps = (int(n) for n in position)
        for layer, features in self.layers.items():
            features.restore(under(str(layer), state))


def survey_features(
    subject: Subject,
    passages: Passages,
    batches: Sequence[Sequence[int]],
    state: FeatureSurvey,
    *,
    places: Sequence[Place],
    trials: Mapping[int, Trial],
    load: Load,
    plan: FeaturePlan,
    chunk_bytes: int,
) -> Generator[Step, None, None]:
    """Stream a corpus through the model, adding it to the state chunk by chunk, layer by layer.

    Args:
        subject: The model.
        passages: The corpus.
        batches: The members of each batch.
        state: What was seen before; it is added to.
        places: Where the dictionaries sit, one for each layer, from the first layer to the last.
        trials: What was learnt of each layer's dictionary when it was tried.
        load: Gives a layer's dictionary.
        plan: What to measure.
        chunk_bytes: How much may be kept of the model's passes while dictionaries go by.

    Yields:
        What was done, batch by batch.

    Raises:
        NonFiniteError: If the loss, a gradient or an activation is NaN or infinite.
    """
    chunks = _chunks(passages, batches, _bytes_per_position(subject, trials, plan), chunk_bytes)
    walk = Walk(subject, places, trials, load, plan)
    for chunk in chunks[state.num_chunks :]:
        loaded = [Batch.of(passages, members).to(subject.device) for members in chunk]
        for where, dictionary, observations in walk.past(loaded, start=state.num_layers):
            features, waiting = state.layers[where.layer], list[_Gradients]()
            for seen in observations:
                _update(features, seen, dictionary, plan)
                if features.absolute is not None:
                    waiting.append(_gradients(seen))
                state.num_steps += seen.batch.num_tokens
                yield Step(num_tokens=seen.batch.num_tokens, resumable=False)
            if features.absolute is not None and dictionary is not None:
                _multiply(features.absolute, waiting, dictionary)
            state.num_layers += 1
            yield Step(num_tokens=0, resumable=state.num_layers < len(places))
        state.num_chunks += 1
        state.num_layers = 0
        yield Step(num_tokens=0, resumable=True)


def _update(
    features: LayerFeatures, seen: Observation, dictionary: Dictionary | None, plan: FeaturePlan
) -> None:
    batch, passages = seen.batch, seen.batch.passages
    features.num_tokens += int(seen.valid.sum())
    features.num_sequences += len(passages)
    if plan.takes_gradients:
        features.nats += seen.nats
        features.num_predicted += batch.num_tokens - len(passages)
    if features.counts is not None:
        assert seen.codes is not None
        features.counts += seen.codes.counts().cpu().numpy()
    for statistic in (features.moment, features.largest):
        if statistic is not None:
            assert seen.gradient is not None
            statistic.update(seen.gradient, valid=seen.valid, passages=passages)
    if features.sparse is not None:
        assert dictionary is not None
        features.sparse.update(_entries(seen, dictionary, plan))


def _gradients(seen: Observation) -> _Gradients:
    assert seen.gradient is not None
    return seen.gradient[seen.valid], seen.valid.sum(dim=1).tolist()


def _entries(seen: Observation, dictionary: Dictionary, plan: FeaturePlan) -> Entries:
    """Give the quantity for each feature that fires, where it fires."""
    codes = seen.codes
    assert codes is not None
    values = codes.values
    if plan.takes_gradients:
        assert seen.gradient is not None
        slopes = gradients_where_active(seen.gradient[seen.valid], dictionary.rows, codes)
        values = slopes if plan.quantity == "gradients" else slopes * values
    rows, places = torch.where(seen.valid)
    return Entries(
        values=values,
        features=codes.features,
        sequences=rows[codes.tokens],
        positions=places[codes.tokens] * plan.stride,
        lengths=seen.valid.sum(dim=1),
        passages=np.asarray(seen.batch.passages, dtype=np.int64),
    )


def _multiply(absolute: Ratios, batches: Sequence[_Gradients], dictionary: Dictionary) -> None:
    """Add the sizes of all features' gradients at all tokens of a chunk."""
    tokens = torch.cat([tokens for tokens, _ in batches])
    lengths = [length for _, lengths in batches for length in lengths]
    for sums, group in absolute_sums(tokens, lengths, dictionary.rows):
        absolute.update(wide(sums), torch.tensor(group, device=sums.device)[:, None])


def _bytes_per_position(subject: Subject, trials: Mapping[int, Trial], plan: FeaturePlan) -> float:
    """Say how much is kept of each position of a batch while dictionaries go by."""
    if not plan.needs_dictionaries:
        return float("inf")  # nothing is gained by keeping: one batch at a time
    size = torch.finfo(number_format(subject)).bits // 8
    if plan.replaces:
        stream = max(sum(trial.widths) for trial in trials.values())
        return float(stream * size)
    return sum(sum(trial.widths) for trial in trials.values()) * size / plan.stride


def _chunks(
    passages: Passages,
    batches: Sequence[Sequence[int]],
    bytes_per_position: float,
    chunk_bytes: int,
) -> list[list[Sequence[int]]]:
    """Put batches together until the memory for a chunk is full; at least one in each."""
    chunks: list[list[Sequence[int]]] = []
    room = 0.0
    for members in batches:
        positions = len(members) * max(len(passages.tokens[member]) for member in members)
        if not chunks or positions * bytes_per_position > room:
            chunks.append([])
            room = float(chunk_bytes)
        chunks[-1].append(members)
        room -= positions * bytes_per_position
    return chunks
