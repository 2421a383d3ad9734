"""Dictionary features over a corpus: gradients, activations or their product, layer by layer."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from backlight.data.batches import Batch, Passages
from backlight.errors import StateError
from backlight.stats.base import State, prefixed, taken, under
from backlight.stats.completeness import Completeness
from backlight.stats.progress import Progress
from backlight.surveys.features.measure.chunks import LEAST_TOKENS, chunks_of
from backlight.surveys.features.measure.feature_pass import FeaturePass
from backlight.surveys.features.measure.features import (
    DenseFeatures,
    LayerFeatures,
)
from backlight.surveys.features.measure.placed import PlacedDictionary
from backlight.surveys.features.measure.plan import FeaturePlan
from backlight.surveys.features.measure.products import ProductFeatures
from backlight.surveys.features.measure.sparse import SparseFeatures
from backlight.surveys.features.measure.warning import FeatureWarnings

_POSITION = "position"


@final
class FeatureSurvey:
    """What was seen so far, and how far the survey has come.

    Attributes:
        plan: What is measured.
        layers: What was seen of each layer.
        num_chunks: How many chunks of the corpus are done.
        num_layers: How many layers of the next chunk are done.
        num_steps: Tokens times layers that are done.
        completeness: What the paths of the sites add up to; None without paths.
    """

    def __init__(
        self,
        plan: FeaturePlan,
        dictionaries: Sequence[PlacedDictionary],
        completeness: Completeness | None = None,
    ) -> None:
        """Start with nothing seen.

        Args:
            plan: What is to be measured.
            dictionaries: The dictionaries, from the first layer to the last.
            completeness: Of the sites that they write to, if there are paths.
        """
        self.plan, self.completeness = plan, completeness
        self.layers = {placed.layer: _nothing(plan, placed) for placed in dictionaries}
        self.num_chunks = self.num_layers = self.num_steps = 0

    def merge(self, other: "FeatureSurvey") -> None:
        """Take in what another survey with the same dictionaries has seen of other passages.

        Args:
            other: It; unchanged.

        Raises:
            StateError: If one of them stopped within a chunk, where layers have seen different
                tokens, or they are of other layers.
        """
        if self.num_layers or other.num_layers:
            raise StateError("it stopped between two layers, so it cannot be merged")
        if self.layers.keys() != other.layers.keys():
            raise StateError("it is of other layers")
        for layer, features in self.layers.items():
            features.merge(other.layers[layer])
        for name, part in self._paths().items():
            part.merge(other._paths()[name])
        self.num_chunks += other.num_chunks
        self.num_steps += other.num_steps

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that was seen as arrays, from which ``restore`` goes on bit by bit."""
        position = np.array([self.num_chunks, self.num_layers, self.num_steps], dtype=np.int64)
        layers = {str(layer): features for layer, features in self.layers.items()}
        return {_POSITION: position, **prefixed({**layers, **self._paths()})}

    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state."""
        position = taken(state, _POSITION, np.zeros(3, dtype=np.int64))
        self.num_chunks, self.num_layers, self.num_steps = (int(n) for n in position)
        for layer, features in self.layers.items():
            features.restore(under(str(layer), state))
        for name, part in self._paths().items():
            part.restore(under(name, state))

    def _paths(self) -> dict[str, Completeness]:
        return {} if self.completeness is None else {"completeness": self.completeness}


def join_by_layer(
    fresh: Callable[[Sequence[PlacedDictionary]], FeatureSurvey],
    dictionaries: Sequence[PlacedDictionary],
    first: dict[str, NDArray[Any]],
    second: dict[str, NDArray[Any]],
) -> dict[str, NDArray[Any]]:
    """Merge two states of all layers, which can be large, with little more than them in memory.

    Args:
        fresh: Makes a survey of some dictionaries that has seen nothing.
        dictionaries: Those of the states.
        first: The state of the earlier shards; it is empty afterwards.
        second: That of the later ones, likewise.

    Returns:
        The state of both.
    """
    joined: dict[str, NDArray[Any]] = {}
    for placed in dictionaries:
        own, other = fresh([placed]), fresh([placed])
        own.restore(first)
        other.restore(second)
        own.merge(other)
        merged = own.state()
        joined |= merged
        for name in merged.keys() - {_POSITION}:
            del first[name], second[name]
    first.clear()
    second.clear()
    return joined


def survey_features(
    going: FeaturePass,
    passages: Passages,
    batches: Sequence[Sequence[int]],
    state: FeatureSurvey,
    *,
    dictionaries: Sequence[PlacedDictionary],
    chunk_bytes: int,
    chunk_tokens: int = LEAST_TOKENS,
) -> Generator[Progress, None, None]:
    """Stream a corpus through the model, adding it to the state chunk by chunk, layer by layer.

    Within a chunk the loop over layers is the outer one, so that each dictionary is read once for
    all of its batches.

    Args:
        going: How batches go through the model and past the dictionaries.
        passages: The corpus.
        batches: The members of each batch.
        state: What was seen before; it is added to.
        dictionaries: Those that the state was made for.
        chunk_bytes: How much may be kept of the model's passes while dictionaries go by.
        chunk_tokens: With how many tokens a chunk is full in any case.

    Yields:
        What was done, batch by batch, in tokens times layers; the state can be kept where a layer
        of a chunk is done.

    Raises:
        NonFiniteError: If the loss, a gradient or an activation is NaN or infinite.
    """
    chunks = chunks_of(
        passages,
        batches,
        going.bytes_per_position(dictionaries),
        chunk_bytes=chunk_bytes,
        chunk_tokens=chunk_tokens,
    )
    for chunk in chunks[state.num_chunks :]:
        loaded = [Batch.of(passages, members).to(going.device) for members in chunk]
        for placed, observations in going.past(loaded, dictionaries[state.num_layers :]):
            features = state.layers[placed.layer]
            for seen in observations:
                features.update(seen, placed)
                if state.completeness is not None:
                    assert seen.change is not None, "a path leads to each site"
                    changes = seen.change.numbers
                    state.completeness.update(placed.writes.name, changes, seen.batch.passages)
                state.num_steps += seen.batch.num_tokens
                yield Progress(num_tokens=seen.batch.num_tokens, resumable=False)
            features.close_chunk(placed)
            state.num_layers += 1
            if state.num_layers < len(dictionaries):
                yield Progress(num_tokens=0)
        state.num_chunks += 1
        state.num_layers = 0
        yield Progress(num_tokens=0)


def _nothing(plan: FeaturePlan, placed: PlacedDictionary) -> LayerFeatures:
    num_features, width = len(placed.fidelity.counts), placed.fidelity.widths[1]
    warnings = None if placed.way is None else FeatureWarnings(num_features)
    if plan.is_dense and placed.card.is_cross_layer:
        return ProductFeatures(plan, num_features, width)
    if plan.is_dense:
        return DenseFeatures(plan, num_features, width, warnings)
    return SparseFeatures(plan, num_features, warnings)
