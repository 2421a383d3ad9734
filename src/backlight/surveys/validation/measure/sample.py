"""A few passages of a run's text, with all that predictions are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.capture.effects import keep_streams, value_with
from backlight.capture.record import record
from backlight.capture.tape import Tape
from backlight.data.batches import Batch, Passages
from backlight.decompose.precision import at_least_single
from backlight.errors import UnsupportedSiteError
from backlight.models.blocks.rerun import Blocks
from backlight.models.sites import Site, layer_of
from backlight.models.streams import Way
from backlight.models.subject import Subject
from backlight.objectives.objective import Reduction, Valued
from backlight.surveys.driver.relative import needed_norms, ways_of, weights_on

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some passages in one batch, run once.

    Attributes:
        subject: The model.
        batch: The passages.
        objective: What is differentiated.
        tape: Gradients and activations at all sites where something is changed.
        ways: How changes reach the residual stream, where that is known.
        reason: Why it is not known elsewhere; empty if it is known everywhere.
        streams: The residual stream before each layer, for passes that begin there.
        blocks: The model's blocks; None if it is run whole.
        value: The objective of each passage as the model is.
        donors: For each passage, the one whose values take the place of its own.
        weights: How much each passage counts in the mean.
    """

    subject: Subject
    batch: Batch
    objective: Valued
    tape: Tape
    ways: dict[str, Way]
    reason: str
    streams: dict[int, Tensor]
    blocks: Blocks | None
    value: Vector
    donors: NDArray[np.int64]
    weights: Vector

    @staticmethod
    def of(
        subject: Subject,
        batch: Batch,
        sites: Sequence[Site],
        *,
        objective: Valued,
        reduction: Reduction,
        seed: int,
    ) -> "Sample":
        """Run some passages.

        Args:
            subject: The model.
            batch: The passages, on the model's device.
            sites: Where something will be changed.
            objective: What is differentiated.
            reduction: How passages are weighed in the mean.
            seed: Determines whose values take the place of whose.

        Returns:
            The sample.
        """
        ways, reason = ways_of(subject, sites)
        norms = needed_norms(ways.values())
        tape = record(
            subject, batch, sites, objective=objective, keep_activations=True, norms=norms
        )
        layers = sorted({layer for site in sites if (layer := layer_of(site.name)) is not None})
        try:
            blocks = Blocks.of(subject)
            streams = keep_streams(subject, batch, layers)
        except UnsupportedSiteError:  # the model is run whole, at the same result
            blocks, streams = None, {}
        value = value_with(subject, batch, objective, {})
        return Sample(
            subject=subject,
            batch=batch,
            objective=objective,
            tape=tape,
            ways=ways,
            reason=reason,
            streams=streams,
            blocks=blocks,
            value=value.numpy(),
            donors=_derangement(len(batch.passages), seed),
            weights=_weights(batch, reduction),
        )

    def predicted(self, site: Site, delta: Float[Tensor, "batch positions width"]) -> Vector:
        """Predict what a change does to each passage's objective: gradient times change."""
        wide = torch.float64 if delta.device.type != "mps" else None
        products = self.tape.gradients[site.name] * delta
        return products.sum(dim=(1, 2), dtype=wide).cpu().double().numpy()

    def true(self, site: Site, delta: Float[Tensor, "batch positions width"]) -> Vector:
        """Find what a change does to each passage's objective, by running the model with it."""
        layer = layer_of(site.name)
        begins = self.blocks is not None and layer in self.streams
        value = value_with(
            self.subject,
            self.batch,
            self.objective,
            {site.name: self.tape.activations[site.name] + delta},
            blocks=self.blocks if begins else None,
            layer=layer if begins and layer is not None else 0,
            stream=self.streams[layer] if begins and layer is not None else None,
        )
        return value.numpy() - self.value

    def relative_size(
        self,
        site: Site,
        delta: Float[Tensor, "batch positions width"],
        mask: Bool[Tensor, "batch positions"],
    ) -> float:
        """Measure how large a change is beside the residual stream, over the tokens that change.

        Args:
            site: Where it is made.
            delta: The change.
            mask: Which tokens count.

        Returns:
            The mean of |change of the stream| / |stream|; NaN where the stream is not known.
        """
        way = self.ways.get(site.name)
        if way is None:
            return float("nan")
        lengths = torch.linalg.vector_norm(way.through(at_least_single(delta)), dim=-1)
        relative = (lengths * weights_on(self.tape, way))[mask]
        return float(relative.double().mean()) if len(relative) else float("nan")


def sample_of(
    passages: Passages, *, count: int, longest: int | None, seed: int
) -> tuple[Passages, list[int]]:
    """Draw some passages of a text, in the order in which they stand there.

    Args:
        passages: The text.
        count: How many.
        longest: After how many tokens they are cut; None for nowhere.
        seed: Determines which.

    Returns:
        The text, cut, and which of its passages were drawn: none of which no token counts.
    """
    cut = passages.cut(longest)
    random = np.random.default_rng([seed, 1])
    drawn = random.permutation(np.array(_counting(cut), dtype=np.int64))[:count]
    return cut, sorted(drawn.tolist())


def _counting(passages: Passages) -> list[int]:
    """List the passages with a token that the loss counts."""
    if passages.counted is None:
        return list(range(len(passages.tokens)))
    return [member for member, counts in enumerate(passages.counted) if counts[1:].any()]


def _derangement(count: int, seed: int) -> NDArray[np.int64]:
    """Draw a cycle through all passages: none is its own donor."""
    order = np.random.default_rng([seed, 2]).permutation(count)
    donors = np.empty(count, dtype=np.int64)
    donors[order] = np.roll(order, 1)
    return donors


def _weights(batch: Batch, reduction: Reduction) -> Vector:
    count = len(batch.passages)
    if reduction == "token_sum":
        return batch.predicts.sum(dim=1).cpu().double().numpy()
    return np.full(count, 1.0 if reduction == "sequence_mean" else 1 / count)
