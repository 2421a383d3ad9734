"""What the driver must know of a measurement's steps and of its state."""

from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray


@runtime_checkable
class Step(Protocol):
    """What one step of a measurement did."""

    @property
    def num_tokens(self) -> int:
        """How many units of progress it was."""
        ...

    @property
    def resumable(self) -> bool:
        """Whether the state can be kept after it."""
        ...


@runtime_checkable
class State(Protocol):
    """What a measurement has seen so far, as something that can be written down."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Copy everything into plain arrays."""
        ...

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what ``state`` returned; the next step is then the one that followed."""
        ...


@runtime_checkable
class Mergeable(State, Protocol):
    """A state that can take in what another of its form has seen of other passages."""

    def merge(self, other: Any) -> None:
        """Take in another state."""
        ...
