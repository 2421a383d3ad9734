"""Where else numbers may go: other people's dashboards."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol, runtime_checkable

from backlight.training.guarding.guard import attempt
from backlight.training.guarding.warn_once import complain, in_words


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
            self._attempt(sink, partial(sink.write, step, dict(numbers)))

    def close(self) -> None:
        """Close all."""
        for sink in list(self._sinks):
            self._attempt(sink, sink.close)
        self._sinks.clear()

    def _attempt(self, sink: Sink, work: Callable[[], object]) -> None:
        error = attempt(work)
        if error is not None:
            self._sinks.remove(sink)
            complain(
                f"{type(sink).__name__} failed ({in_words(error)}); it gets no more numbers, and "
                "the training goes on."
            )
