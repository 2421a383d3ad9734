"""The profile of a corpus: statistics of a quantity at some sites, streamed over batches."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import final

from torch import Tensor

from backlight.capture.curvature import record_curvature, signs
from backlight.capture.finite import check_finite
from backlight.capture.path import record_path
from backlight.capture.record import record_activations, record_each
from backlight.capture.tape import Tape
from backlight.data.batches import Batch, Passages
from backlight.errors import StateError, quoted
from backlight.models.sites import Site
from backlight.models.streams import Way
from backlight.models.subject import Subject
from backlight.objectives.objective import NextToken, Reduction
from backlight.stats.aggregate import Mode
from backlight.stats.bank import Bank
from backlight.stats.base import Sums, wide
from backlight.stats.completeness import Completeness
from backlight.stats.groups import SiteGroups
from backlight.stats.loss import CorpusLoss
from backlight.stats.probes import ProbeNoise
from backlight.stats.progress import Progress
from backlight.surveys.driver.options.shared import Quantity
from backlight.surveys.driver.paths import Paths
from backlight.surveys.driver.relative import needed_norms
from backlight.surveys.layers.measure.warning import DimensionWarnings

Recorder = Callable[[Iterable[Batch]], Iterator[Tape]]
"""Runs batches on the model's device, and yields what a quantity needs at the sites, of each."""

_NO_WAYS: Mapping[str, Way] = {}


@final
class Profile(Sums):
    """All that was seen so far.

    Attributes:
        bank: The statistics of each site.
        loss: The loss, and how many batches were seen.
        noise: What random probes add to the errors; empty where there are none.
        completeness: What the sites' paths add up to; None if gradients are no averages of paths.
        warnings: How far first-order predictions can be believed.
        groups: Sums over groups of passages, for comparisons.
    """

    def __init__(
        self,
        completeness: Completeness | None = None,
        ways: Mapping[str, Way] = _NO_WAYS,
        modes: Sequence[Mode] = (),
    ) -> None:
        """Start with nothing seen.

        Args:
            completeness: See the class.
            ways: How changes of sites reach their residual streams, by the sites' names.
            modes: Of what sums over groups of passages are kept.
        """
        self.bank, self.loss, self.completeness = Bank(), CorpusLoss(), completeness
        self.noise, self.warnings = ProbeNoise(), DimensionWarnings(ways)
        self.groups = SiteGroups(modes)
        paths = {} if completeness is None else {"completeness": completeness}
        parts = {"bank": self.bank, "loss": self.loss, "noise": self.noise}
        parts |= {"warnings": self.warnings, "groups": self.groups}
        super().__init__(parts={**parts, **paths})

    def update(self, tape: Tape, sites: Sequence[Site], quantity: Quantity) -> None:
        """Take in a batch.

        Args:
            tape: With what the quantity needs at the sites.
            sites: Where to look.
            quantity: What to look at.
        """
        batch = tape.batch
        for site in sites:
            values = _quantity(tape, site.name, quantity)
            check_finite(values, site.name, batch, quantity)
            for statistic in (self.bank, self.groups):
                statistic.update(site.name, values, valid=batch.valid, passages=batch.passages)
            if self.completeness is not None:
                changes = tape.changes[site.name].numbers
                self.completeness.update(site.name, changes, batch.passages)
        self.warnings.update(tape)
        for name, found in tape.curvatures.items():
            self.noise.update(name, found.by_probe, num_tokens=batch.num_tokens)
        self.loss.update(tape.nats, batch.num_predicted)


def recorder_of(
    subject: Subject,
    sites: Sequence[Site],
    *,
    quantity: Quantity = "gradients",
    reduction: Reduction = "sequence_mean",
    paths: Paths | None = None,
    ways: Mapping[str, Way] = _NO_WAYS,
    num_probes: int = 1,
    seed: int = 0,
) -> Recorder:
    """Choose how batches are run.

    Args:
        subject: The model.
        sites: Where to look.
        quantity: What to look at.
        reduction: How tokens and sequences are weighed in the loss.
        paths: The paths along which gradients are averaged; None to take them where the model is.
        ways: Of which sites the tape must have what the warning index needs, by their names.
        num_probes: How many random probes each passage has, for the Hessian alone.
        seed: Other seeds draw other probes.

    Returns:
        What runs batches.
    """
    objective, norms = NextToken(reduction), needed_norms(ways.values())
    probes = partial(signs, num_probes=num_probes, seed=seed)
    keep = True if quantity == "grad_x_act" else list(ways)

    def one(batch: Batch) -> Tape:
        if quantity == "values":
            return record_activations(subject, batch, sites, norms=norms)
        if quantity == "hessian_diagonal":
            return record_curvature(subject, batch, sites, probes=probes, objective=objective)
        assert paths is not None
        return record_path(
            subject,
            batch,
            sites,
            num_nodes=paths.num_nodes,
            objective=objective,
            blocks=paths.blocks,
        )

    def recorder(batches: Iterable[Batch]) -> Iterator[Tape]:
        there = (batch.to(subject.device) for batch in batches)
        if paths is not None or quantity in ("values", "hessian_diagonal"):
            return map(one, there)
        return record_each(
            subject, there, sites, objective=objective, keep_activations=keep, norms=norms
        )

    return recorder


def profile(
    recorder: Recorder,
    passages: Passages,
    batches: Sequence[Sequence[int]],
    state: Profile,
    *,
    sites: Sequence[Site],
    quantity: Quantity = "gradients",
) -> Generator[Progress, None, None]:
    """Stream a corpus through the model, adding each batch to the state.

    Args:
        recorder: Runs batches.
        passages: The corpus.
        batches: The members of each batch; those already in the state are left out.
        state: What was seen before; it is added to.
        sites: Where to look.
        quantity: What to look at.

    Yields:
        How far it has come, after each batch.

    Raises:
        NonFiniteError: If the loss or the quantity is NaN or infinite.
        StateError: If the state is of other sites or of another corpus.
    """
    _refuse_other_state(state, sites, len(batches))
    left = batches[state.loss.num_batches :]
    for tape in recorder(Batch.of(passages, members) for members in left):
        state.update(tape, sites, quantity)
        yield Progress(num_tokens=tape.batch.num_tokens)


def _refuse_other_state(state: Profile, sites: Sequence[Site], num_batches: int) -> None:
    if state.loss.num_batches > num_batches:
        raise StateError(
            f"it has seen {state.loss.num_batches} batches, and there are {num_batches}"
        )
    names = frozenset(site.name for site in sites)
    if state.loss.num_batches and state.bank.sites != names:
        other = min(state.bank.sites ^ names)
        raise StateError(f"it is of other sites: they differ in {quoted(other)}")


def _quantity(tape: Tape, site: str, quantity: Quantity) -> Tensor:
    if quantity == "values":
        return tape.activations[site]
    if quantity == "grad_x_act":
        return tape.gradients[site] * tape.activations[site]
    if quantity == "hessian_diagonal":
        return tape.curvatures[site].diagonal
    if quantity == "fisher":
        return wide(tape.gradients[site]).square()  # squares of float32 may be too small for it
    return tape.gradients[site]
