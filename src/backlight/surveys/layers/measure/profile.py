"""The profile of a corpus: statistics of a quantity at some sites, streamed over batches."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from backlight.capture.finite import check_finite
from backlight.capture.record import record, record_activations
from backlight.capture.tape import Tape
from backlight.data.batches import Batch, Passages
from backlight.errors import StateError, quoted
from backlight.models.sites import Site
from backlight.models.subject import Subject
from backlight.objectives.objective import NextToken, Reduction
from backlight.stats.bank import Bank
from backlight.stats.base import taken

Quantity = Literal["gradients", "values", "grad_x_act"]
"""``gradients``: of the reduced loss, in nats per unit of activation. ``values``: the activations
themselves. ``grad_x_act``: gradient times activation, in nats: to first order, how much of the loss
hangs on the dimension."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a profile has come after a batch."""

    num_batches: int
    num_tokens: int

    @property
    def resumable(self) -> bool:
        """The state can be kept after every batch."""
        return True


@final
class Profile:
    """All that was seen so far: statistics, loss, and how many batches are done.

    Attributes:
        bank: The statistics of each site.
        num_batches: How many batches are in them.
        nats: The cross-entropy of all predicted tokens, summed; 0 if no gradient was asked for.
        num_predicted: How many tokens were predicted.
    """

    def __init__(self) -> None:
        self.bank = Bank()
        self.num_batches = 0
        self.nats = 0.0
        self.num_predicted = 0

    def state(self) -> dict[str, NDArray[Any]]:
        """Give everything as plain arrays; ``restore`` takes them back bit by bit."""
        counts = np.array([self.num_batches, self.num_predicted], dtype=np.int64)
        return {**self.bank.state(), "counts": counts, "nats": np.array(self.nats)}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over a state."""
        own = ("counts", "nats")
        self.bank.restore({name: array for name, array in state.items() if name not in own})
        counts = taken(state, "counts", np.zeros(2, dtype=np.int64))
        self.num_batches, self.num_predicted = (int(count) for count in counts)
        self.nats = float(taken(state, "nats", np.zeros(())))

    def merge(self, other: "Profile") -> None:
        """Take in what another profile of the same sites has seen of other passages."""
        self.bank.merge(other.bank)
        self.num_batches += other.num_batches
        self.nats += other.nats
        self.num_predicted += other.num_predicted


def profile(
    subject: Subject,
    passages: Passages,
    batches: Sequence[Sequence[int]],
    state: Profile,
    *,
    sites: Sequence[Site],
    quantity: Quantity = "gradients",
    reduction: Reduction = "sequence_mean",
) -> Generator[Progress, None, None]:
    """Stream a corpus through the model, adding each batch to the state.

    Args:
        subject: The model.
        passages: The corpus.
        batches: The members of each batch; those already in the state are left out.
        state: What was seen before; it is added to.
        sites: Where to look.
        quantity: What to look at.
        reduction: How tokens and sequences are weighed in the loss.

    Yields:
        How far it has come, after each batch.

    Raises:
        NonFiniteError: If the loss or the quantity is NaN or infinite.
        StateError: If the state is of other sites or of another corpus.
    """
    _refuse_other_state(state, sites, len(batches))
    for members in batches[state.num_batches :]:
        batch = Batch.of(passages, members).to(subject.device)
        tape = _record(subject, batch, sites, quantity, reduction)
        for site in sites:
            values = _quantity(tape, site.name, quantity)
            check_finite(values, site.name, batch, quantity)
            state.bank.update(site.name, values, valid=batch.valid, passages=batch.passages)
        if tape.nats is not None:
            state.nats += float(tape.nats.sum())
            state.num_predicted += batch.num_tokens - len(batch.passages)
        state.num_batches += 1
        yield Progress(state.num_batches, batch.num_tokens)


def _refuse_other_state(state: Profile, sites: Sequence[Site], num_batches: int) -> None:
    if state.num_batches > num_batches:
        raise StateError(f"it has seen {state.num_batches} batches, and there are {num_batches}")
    names = frozenset(site.name for site in sites)
    if state.num_batches and state.bank.sites != names:
        other = min(state.bank.sites ^ names)
        raise StateError(f"it is of other sites: they differ in {quoted(other)}")


def _record(
    subject: Subject,
    batch: Batch,
    sites: Sequence[Site],
    quantity: Quantity,
    reduction: Reduction,
) -> Tape:
    if quantity == "values":
        return record_activations(subject, batch, sites)
    keep = quantity == "grad_x_act"
    return record(subject, batch, sites, objective=NextToken(reduction), keep_activations=keep)


def _quantity(tape: Tape, site: str, quantity: Quantity) -> Tensor:
    if quantity == "values":
        return tape.activations[site]
    if quantity == "grad_x_act":
        return tape.gradients[site] * tape.activations[site]
    return tape.gradients[site]
