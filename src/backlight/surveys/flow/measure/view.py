"""One way of looking at a tape: which sites it needs, what it adds up, what it tabulates."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from backlight.capture.tape import Tape
from backlight.models.sites import Site
from backlight.models.subject import AttentionCall
from backlight.stats.base import State, prefixed, under
from backlight.tables import Table


@runtime_checkable
class Part(Protocol):
    """Sums over sequences that can be written down, taken up again and put together."""

    def state(self) -> State:
        """Give all that was seen as arrays."""
        ...

    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state."""
        ...

    def merge(self, other: Any) -> None:
        """Take in what another of the same form has seen of other sequences."""
        ...


class View(ABC):
    """Sums of what some layers do to the gradient; memory does not grow with the corpus."""

    @property
    @abstractmethod
    def sites(self) -> Sequence[Site]:
        """Where a tape must have gradients."""

    @property
    @abstractmethod
    def kept(self) -> Collection[str]:
        """At which of these sites it must have activations too."""

    @property
    @abstractmethod
    def attention_layers(self) -> Sequence[int]:
        """Of which layers what attends must be kept."""

    @abstractmethod
    def update(self, tape: Tape, calls: Mapping[int, AttentionCall]) -> None:
        """Take in a batch.

        Args:
            tape: With gradients at the sites, and activations at those that are kept.
            calls: What attended, by layer.
        """

    @abstractmethod
    def tables(self) -> tuple[Table, ...]:
        """Tabulate all that was seen."""

    @property
    @abstractmethod
    def _parts(self) -> Mapping[str, Part]:
        """All that is summed, by name."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Give all that was seen as arrays; ``restore`` takes them back bit by bit."""
        return prefixed(self._parts)

    def restore(self, state: State) -> None:
        """Forget what was seen and take over a state."""
        for name, part in self._parts.items():
            part.restore(under(name, state))

    def merge(self, other: "View") -> None:
        """Take in what a view of the same layers has seen of other sequences."""
        for name, part in self._parts.items():
            part.merge(other._parts[name])
