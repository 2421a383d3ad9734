"""Where else numbers may go: other people's dashboards."""

from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from backlight.training.outlets.complaint import complain

__all__ = ["Sink", "Sinks"]


@runtime_checkable
class Sink(Protocol):
    """Takes numbers by name, at each recorded step."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take the numbers of one step; NaN and infinity are handed over as they are."""
        ...

    def close(self) -> None:
        """Finish writing."""
        ...


class Sinks:
    """Hands numbers to all sinks, and lets go of one that fails."""

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self._sinks = list(sinks)

    def __len__(self) -> int:
        return len(self._sinks)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Hand over the numbers of one step."""
        for sink in list(self._sinks):
            try:
                sink.write(step, numbers)
            except Exception as error:  # noqa: BLE001 - other people's code, of any kind of failure, must not end a training
                self._drop(sink, error)

    def close(self) -> None:
        """Close all."""
        for sink in list(self._sinks):
            try:
                sink.close()
            except Exception as error:  # noqa: BLE001 - as above
                self._drop(sink, error)
        self._sinks.clear()

    def _drop(self, sink: Sink, error: Exception) -> None:
        self._sinks.remove(sink)
        complain(
            f"{type(sink).__name__} failed ({type(error).__name__}: {error}); it gets no more "
            "numbers, and the training goes on."
        )
