"""How a corpus goes through the model and past its dictionaries, in one of two ways.

With ``error`` the forward pass is the model's own, and one pass serves all layers. With ``replace``
each layer has a pass of its own, in which the dictionary's reconstruction takes the activation's
place; it begins at that layer, from a residual stream that is kept and advanced layer by layer.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backlight.capture.finite import check_finite
from backlight.capture.path import Start, follow_path
from backlight.capture.record import record, record_activations
from backlight.capture.splice import splicing
from backlight.capture.tape import Change, Tape
from backlight.data.batches import Batch
from backlight.dictionaries.codes import Codes
from backlight.dictionaries.normalization import scale_of
from backlight.models.blocks.rerun import Blocks
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.objectives.objective import NextToken
from backlight.surveys.driver.relative import needed_norms, weights_on
from backlight.surveys.features.measure.cross_layer import joined_gradients
from backlight.surveys.features.measure.fidelity import unique_sites
from backlight.surveys.features.measure.placed import PlacedDictionary, kept_widths, number_format
from backlight.surveys.features.measure.plan import FeaturePlan
from backlight.surveys.features.measure.unspliced import run_unspliced


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A batch at one layer: the tokens that are looked at, in the dictionary's number format.

    Attributes:
        batch: The batch.
        valid: Which of the positions that are looked at hold a token.
        gradient: dL/d(reconstruction) times the token's scale, zero at pads, of all written sites
            side by side; None if no loss was differentiated.
        codes: What fires at the valid positions; None if tokens are not encoded.
        nats: The cross-entropy of the batch, summed over predicted tokens; 0 without a loss.
        change: What the path of the site adds up to; None without one.
        weights: What lengths of decoded features are multiplied by to be relative to the stream;
            None where the way there is not followed.
    """

    batch: Batch
    valid: Bool[Tensor, "batch kept"]
    gradient: Float[Tensor, "batch kept output_width"] | None
    codes: Codes | None
    nats: float
    change: Change | None = None
    weights: Float[Tensor, "batch kept"] | None = None


class FeaturePass(ABC):
    """How batches go through the model and past the dictionaries, layer by layer."""

    def __init__(self, subject: Subject, plan: FeaturePlan) -> None:
        """Prepare to go.

        Args:
            subject: The model.
            plan: What to measure.
        """
        self._subject, self._plan = subject, plan
        self._precision = number_format(subject)
        self._objective = NextToken(plan.reduction)

    @final
    @property
    def device(self) -> torch.device:
        """Where batches must be."""
        return self._subject.device

    @abstractmethod
    def past(
        self, batches: Sequence[Batch], dictionaries: Sequence[PlacedDictionary]
    ) -> Iterator[tuple[PlacedDictionary, Iterator[Observation]]]:
        """Take some batches past the dictionaries.

        Args:
            batches: They are kept in memory until the last layer is done.
            dictionaries: Some neighbours in the order of their layers.

        Yields:
            Each dictionary with the batches at its sites, which are to be used up before the next.
        """

    @abstractmethod
    def bytes_per_position(self, dictionaries: Sequence[PlacedDictionary]) -> float:
        """Compute how much is kept of each position of a batch while dictionaries go by."""

    @final
    def _looked_at(
        self, tensors: Mapping[str, Tensor], sites: Sequence[Site], batch: Batch, what: str
    ) -> dict[str, Tensor]:
        """Take the positions looked at out of sites' tensors, as dictionaries compute."""
        for site in sites:
            check_finite(tensors[site.name], site.name, batch, what)
        stride = self._plan.stride
        return {
            site.name: tensors[site.name][:, ::stride].to(self._precision).contiguous()
            for site in sites
        }

    @final
    def _observation(
        self, placed: PlacedDictionary, tape: Tape, codes: Codes | None
    ) -> Observation:
        """Make an observation of a tape on which there are only the positions looked at."""
        gradient, weights = joined_gradients(tape, placed.written), None
        if placed.way is not None:
            weights = weights_on(tape, placed.way, stride=self._plan.stride)
        if (kind := placed.fidelity.normalization) != "none":
            scale = scale_of(kind, tape.activations[placed.reads.name])
            gradient = None if gradient is None else gradient * scale
            assert isinstance(scale, Tensor), "it differs from token to token"
            weights = None if weights is None else weights * scale.squeeze(-1)
        return Observation(
            batch=tape.batch,
            valid=self._valid(tape.batch),
            gradient=gradient,
            codes=codes,
            nats=0.0 if tape.nats is None else float(tape.nats.sum()),
            change=tape.changes.get(placed.writes.name),
            weights=weights,
        )

    @final
    def _every(self, norms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: each[:, :: self._plan.stride] for name, each in norms.items()}

    @final
    def _valid(self, batch: Batch) -> Bool[Tensor, "batch kept"]:
        return batch.valid[:, :: self._plan.stride]


@final
class ErrorPass(FeaturePass):
    """One pass for all layers, kept while the dictionaries go by.

    Reconstruction plus detached error is the activation itself, so the gradient at the
    reconstruction is the plain gradient at the site: nothing is spliced, and layers do not disturb
    each other. Where no loss is differentiated, activations alone are taken, whatever the splice.
    """

    def __init__(self, subject: Subject, plan: FeaturePlan) -> None:
        """Prepare to go."""
        super().__init__(subject, plan)
        self._blocks = Blocks.found_in(subject) if plan.num_nodes is not None else None

    def past(
        self, batches: Sequence[Batch], dictionaries: Sequence[PlacedDictionary]
    ) -> Iterator[tuple[PlacedDictionary, Iterator[Observation]]]:
        """See ``FeaturePass.past``."""
        reads, writes = self._sites(dictionaries)
        streams = needed_norms(each.way for each in dictionaries if each.way is not None)
        kept: list[Tape] = []
        tapes = run_unspliced(
            self._subject,
            batches,
            reads=reads,
            writes=writes,
            streams=streams,
            objective=self._objective,
            num_nodes=self._plan.num_nodes,
            blocks=self._blocks,
        )
        for tape in tapes:
            batch = tape.batch
            activations = self._looked_at(tape.activations, reads, batch, "activations")
            gradients = self._looked_at(tape.gradients, writes, batch, "gradients")
            norms = self._every(tape.norms)
            kept.append(replace(tape, activations=activations, gradients=gradients, norms=norms))
        for placed in dictionaries:
            yield placed, map(partial(self._encoded, placed), kept)

    def bytes_per_position(self, dictionaries: Sequence[PlacedDictionary]) -> float:
        """See ``FeaturePass.bytes_per_position``."""
        if not (self._plan.encodes or self._plan.absolute):
            return float("inf")  # no dictionary goes by, so nothing is gained by keeping batches
        return kept_widths(dictionaries) * self._precision.itemsize / self._plan.stride

    def _sites(self, dictionaries: Sequence[PlacedDictionary]) -> tuple[list[Site], list[Site]]:
        """Find where activations are needed, and where gradients."""
        scales = any(placed.fidelity.normalization != "none" for placed in dictionaries)
        reads = unique_sites(*(placed.reads for placed in dictionaries))
        writes = unique_sites(*(site for placed in dictionaries for site in placed.written))
        return (
            reads if self._plan.encodes or scales else [],
            [] if self._plan.quantity == "values" else writes,
        )

    def _encoded(self, placed: PlacedDictionary, tape: Tape) -> Observation:
        codes = None
        if self._plan.encodes:
            x = tape.activations[placed.reads.name]
            codes = placed.load().encode(x[self._valid(tape.batch)])
        return self._observation(placed, tape, codes)


@final
class ReplacePass(FeaturePass):
    """A pass for each layer, in which the reconstruction takes the activation's place.

    Only one layer is spliced at a time, so what enters a layer is what enters it in the model as it
    is: that residual stream is kept for each batch, and each layer begins from it and leaves out
    the blocks below. A first, clean run from there yields the activations to reconstruct, and the
    stream before the next layer; a second one, with the reconstructions in place, the gradient.
    So each layer pays for the layers above it alone, not for the whole model.
    """

    def __init__(self, subject: Subject, plan: FeaturePlan) -> None:
        """Prepare to go; an UnsupportedSiteError if the model's blocks are not known."""
        super().__init__(subject, plan)
        self._blocks = Blocks.of(subject)

    def past(
        self, batches: Sequence[Batch], dictionaries: Sequence[PlacedDictionary]
    ) -> Iterator[tuple[PlacedDictionary, Iterator[Observation]]]:
        """See ``FeaturePass.past``."""
        before = [self._subject.sites[f"layers.{each.layer}.resid.pre"] for each in dictionaries]
        streams = [
            record_activations(self._subject, batch, before[:1]).activations[before[0].name]
            for batch in batches
        ]
        for index, placed in enumerate(dictionaries):
            yield placed, self._replaced(batches, streams, placed, before[index + 1 : index + 2])

    def bytes_per_position(self, dictionaries: Sequence[PlacedDictionary]) -> float:
        """See ``FeaturePass.bytes_per_position``."""
        widest = max(sum(placed.fidelity.widths) for placed in dictionaries)
        return float(widest * self._precision.itemsize)

    def _replaced(
        self,
        batches: Sequence[Batch],
        streams: list[Tensor],
        placed: PlacedDictionary,
        ahead: Sequence[Site],
    ) -> Iterator[Observation]:
        """Observe each batch at one layer, and advance its stream to the next, if there is one."""
        dictionary, reads, writes = placed.load(), placed.reads, placed.writes
        sites = unique_sites(reads, writes, *ahead)
        for index, batch in enumerate(batches):
            stream, valid = streams[index], self._valid(batch)
            with self._blocks.entering(placed.layer, stream):
                clean = record_activations(self._subject, batch, sites).activations
            for site in ahead:
                streams[index] = clean[site.name]  # from the clean run: nothing below is spliced
            x = self._looked_at(clean, [reads], batch, "activations")
            tokens = x[reads.name][valid]
            codes = dictionary.encode(tokens)
            # Positions between the strides keep the model's own activation.
            spliced = clean[writes.name].clone()
            spliced[:, :: self._plan.stride][valid] = dictionary.decode(codes, tokens).to(spliced)
            with (
                self._blocks.entering(placed.layer, stream),
                splicing(self._subject, {writes.name: spliced}),
            ):
                tape = record(
                    self._subject,
                    batch,
                    [writes],
                    objective=self._objective,
                    keep_activations=self._plan.num_nodes is not None,
                    norms=() if placed.way is None else placed.way.needed,
                )
            if self._plan.num_nodes is not None:
                start = Start(blocks=self._blocks, layer=placed.layer, stream=stream)
                tape = self._along(tape, writes, clean[writes.name], start, self._plan.num_nodes)
            gradients = self._looked_at(tape.gradients, [writes], batch, "gradients")
            tape = replace(tape, activations=x, gradients=gradients, norms=self._every(tape.norms))
            yield self._observation(placed, tape, codes)

    def _along(self, end: Tape, writes: Site, clean: Tensor, start: Start, num_nodes: int) -> Tape:
        """Average gradients along the path on which a reconstruction grows to what it is."""
        # Only what is looked at is the dictionary's, so only that moves.
        reference = clean.clone()
        reference[:, :: self._plan.stride][self._valid(end.batch)] = 0
        gradient, change = follow_path(
            self._subject,
            end,
            writes,
            reference=reference,
            num_nodes=num_nodes,
            objective=self._objective,
            start=start,
        )
        return replace(end, gradients={writes.name: gradient}, changes={writes.name: change})


def feature_pass(subject: Subject, plan: FeaturePlan) -> FeaturePass:
    """Choose the way that a plan asks for; without a loss there is nothing to replace."""
    if plan.splice == "replace" and plan.quantity != "values":
        return ReplacePass(subject, plan)
    return ErrorPass(subject, plan)
