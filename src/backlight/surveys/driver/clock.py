"""How long the phases of a command take."""

import time


class Clock:
    """Seconds since the start of a command, by the names of its phases.

    Attributes:
        laps: Seconds of each finished phase.
    """

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._start = self._lap = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a phase, or one more part of it."""
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + now - self._lap
        self._lap = now

    def total(self) -> float:
        """Return the seconds since the start."""
        return time.perf_counter() - self._start
