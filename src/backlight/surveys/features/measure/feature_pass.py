"""How a corpus goes through the model and past its dictionaries.

With ``error`` the forward pass is the model's own, and one pass serves all layers. With ``replace``
each layer has a pass of its own, in which the dictionary's reconstruction takes the activation's
place; it begins at that layer, from a residual stream that is kept and advanced layer by layer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

from jaxtyping import Bool, Float
from torch import Tensor

from backlight.capture.finite import check_finite
from backlight.capture.record import record, record_activations
from backlight.capture.splice import splicing
from backlight.data.batches import Batch
from backlight.dictionaries.codes import Codes
from backlight.dictionaries.dictionary import Dictionary
from backlight.dictionaries.normalization import scale_of
from backlight.models.blocks import Blocks
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.objectives.objective import NextToken, Reduction
from backlight.surveys.driver.options import Quantity
from backlight.surveys.features.measure.placement import Place, Trial, number_format, unique_sites

Splice = Literal["replace", "error"]
"""``replace``: the reconstruction takes the activation's place, at one layer at a time. ``error``:
reconstruction plus its detached error, so that the forward pass is unchanged."""

Load = Callable[[int], Dictionary]
"""From a layer to its dictionary; at most one is held at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePlan:
    """What is to be measured of the features.

    Attributes:
        splice: How the dictionary enters the model.
        quantity: What is looked at.
        active_only: Average over the tokens where a feature fires, not over all.
        absolute: The mean of absolute values is wanted, which takes a product of all tokens with
            all features.
        stride: Every so many tokens of a passage are looked at, from its first.
        reduction: How tokens and sequences are weighed in the loss.
    """

    splice: Splice
    quantity: Quantity = "gradients"
    active_only: bool = False
    absolute: bool = True
    stride: int = 1
    reduction: Reduction = "sequence_mean"

    @property
    def takes_gradients(self) -> bool:
        """The loss is differentiated."""
        return self.quantity != "values"

    @property
    def is_dense(self) -> bool:
        """Every feature counts at every token, whether it fires or not."""
        return self.quantity == "gradients" and not self.active_only

    @property
    def replaces(self) -> bool:
        """Reconstructions take the place of activations."""
        return self.splice == "replace" and self.takes_gradients

    @property
    def encodes(self) -> bool:
        """All tokens are encoded, so what fires is known over the whole corpus."""
        return self.replaces or not self.is_dense

    @property
    def needs_dictionaries(self) -> bool:
        """Dictionaries are used batch by batch, not only once at the end."""
        return self.encodes or self.absolute


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A batch at one layer: the tokens that are looked at, in the dictionary's number format.

    Attributes:
        batch: The batch.
        valid: Which of the positions that are looked at hold a token.
        x: What the dictionary reads there; None if nobody asks.
        gradient: dL/d(reconstruction) times the token's scale; None if nobody asks. Zero at pads.
        codes: What fires at the valid positions; None if nobody asks.
        nats: The cross-entropy of the batch, summed over predicted tokens.
    """

    batch: Batch
    valid: Bool[Tensor, "batch kept"]
    x: Float[Tensor, "batch kept input_width"] | None
    gradient: Float[Tensor, "batch kept output_width"] | None
    codes: Codes | None
    nats: float


@final
class Walk:
    """How batches go through the model and past the dictionaries, layer by layer."""

    def __init__(
        self,
        subject: Subject,
        places: Sequence[Place],
        trials: Mapping[int, Trial],
        load: Load,
        plan: FeaturePlan,
    ) -> None:
        """Prepare to go.

        Args:
            subject: The model.
            places: Where the dictionaries sit, from the first layer to the last.
            trials: What was learnt of each layer's dictionary when it was tried.
            load: Gives a layer's dictionary.
            plan: What to measure.
        """
        self._subject = subject
        self._places = places
        self._trials = trials
        self._load = load
        self._plan = plan
        self._blocks = Blocks.of(subject) if plan.replaces else None

    def past(
        self, batches: Sequence[Batch], *, start: int = 0
    ) -> Iterator[tuple[Place, Dictionary | None, Iterator[Observation]]]:
        """Take some batches past the layers.

        Args:
            batches: They are kept in memory until the last layer is done.
            start: How many layers to leave out.

        Yields:
            For each layer, its place, its dictionary if the plan needs one, and the batches there;
            these are to be used up before the next layer.
        """
        places = self._places[start:]
        yield from (
            self._replacing(batches, places) if self._blocks else self._unchanged(batches, places)
        )

    def _unchanged(
        self, batches: Sequence[Batch], places: Sequence[Place]
    ) -> Iterator[tuple[Place, Dictionary | None, Iterator[Observation]]]:
        """One pass for all layers, kept while the dictionaries go by."""
        kept = [self._one_pass(batch, places) for batch in batches]
        for where in places:
            dictionary = self._load(where.layer) if self._plan.needs_dictionaries else None
            yield where, dictionary, self._encoded(kept, where, dictionary)

    def _replacing(
        self, batches: Sequence[Batch], places: Sequence[Place]
    ) -> Iterator[tuple[Place, Dictionary, Iterator[Observation]]]:
        """A pass for each layer, which begins at that layer."""
        streams = [self._stream(batch, places[0]) for batch in batches]
        for index, where in enumerate(places):
            dictionary = self._load(where.layer)
            following = places[index + 1] if index + 1 < len(places) else None
            yield where, dictionary, self._replaced(batches, streams, where, following, dictionary)

    def _one_pass(self, batch: Batch, places: Sequence[Place]) -> dict[int, Observation]:
        plan = self._plan
        scaled = any(self._trials[where.layer].normalization != "none" for where in places)
        keep = plan.encodes or scaled
        reads = [where.reads for where in places] if keep else []
        writes = [where.writes for where in places]
        if plan.takes_gradients:
            sites = unique_sites(*reads, *writes)
            tape = record(
                self._subject,
                batch,
                sites,
                objective=NextToken(plan.reduction),
                keep_activations=keep,
            )
        else:
            tape = record_activations(self._subject, batch, unique_sites(*reads))
        return {
            where.layer: self._observation(
                batch,
                where,
                x=tape.activations.get(where.reads.name),
                gradient=tape.gradients.get(where.writes.name),
                nats=tape.nats,
            )
            for where in places
        }

    def _encoded(
        self,
        kept: Sequence[dict[int, Observation]],
        where: Place,
        dictionary: Dictionary | None,
    ) -> Iterator[Observation]:
        for by_layer in kept:
            seen = by_layer.pop(where.layer)
            if self._plan.encodes and dictionary is not None:
                assert seen.x is not None
                seen = replace(seen, codes=dictionary.encode(seen.x[seen.valid]))
            yield seen

    def _stream(self, batch: Batch, where: Place) -> Tensor:
        site = self._before(where)
        return record_activations(self._subject, batch, [site]).activations[site.name]

    def _replaced(
        self,
        batches: Sequence[Batch],
        streams: list[Tensor],
        where: Place,
        following: Place | None,
        dictionary: Dictionary,
    ) -> Iterator[Observation]:
        assert self._blocks is not None
        ahead = [] if following is None else [self._before(following)]
        sites = unique_sites(where.reads, where.writes, *ahead)
        for index, batch in enumerate(batches):
            stream = streams[index]
            with self._blocks.entering(where.layer, stream):
                clean = record_activations(self._subject, batch, sites).activations
            for site in ahead:
                streams[index] = clean[site.name]
            spliced, codes = self._spliced(
                batch, clean[where.reads.name], clean[where.writes.name], dictionary
            )
            with (
                self._blocks.entering(where.layer, stream),
                splicing(self._subject, {where.writes.name: spliced}),
            ):
                tape = record(
                    self._subject, batch, [where.writes], objective=NextToken(self._plan.reduction)
                )
            seen = self._observation(
                batch,
                where,
                x=clean[where.reads.name],
                gradient=tape.gradients[where.writes.name],
                nats=tape.nats,
            )
            yield replace(seen, codes=codes)

    def _spliced(
        self, batch: Batch, x: Tensor, target: Tensor, dictionary: Dictionary
    ) -> tuple[Tensor, Codes]:
        """Put reconstructions where they are looked at, and leave the rest as it is."""
        stride = self._plan.stride
        valid = batch.valid[:, ::stride]
        tokens = x[:, ::stride][valid].to(number_format(self._subject))
        codes = dictionary.encode(tokens)
        spliced = target.clone()
        spliced[:, ::stride][valid] = dictionary.decode(codes, tokens).to(target.dtype)
        return spliced, codes

    def _observation(
        self,
        batch: Batch,
        where: Place,
        *,
        x: Tensor | None,
        gradient: Tensor | None,
        nats: Tensor | None,
    ) -> Observation:
        stride, precision = self._plan.stride, number_format(self._subject)
        if x is not None:
            check_finite(x, where.reads.name, batch, "activations")
            x = x[:, ::stride].to(precision).contiguous()
        if gradient is not None:
            check_finite(gradient, where.writes.name, batch, "gradients")
            gradient = gradient[:, ::stride].to(precision).contiguous()
            normalization = self._trials[where.layer].normalization
            if normalization != "none":
                assert x is not None
                gradient = gradient * scale_of(normalization, x)
        return Observation(
            batch=batch,
            valid=batch.valid[:, ::stride],
            x=x if self._plan.encodes else None,
            gradient=gradient,
            codes=None,
            nats=0.0 if nats is None else float(nats.sum()),
        )

    def _before(self, where: Place) -> Site:
        return self._subject.sites[f"layers.{where.layer}.resid.pre"]
