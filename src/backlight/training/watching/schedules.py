"""At which optimizer steps a training run is measured."""

from collections.abc import Callable
from dataclasses import dataclass

from backlight.errors import ConfigError, quoted


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which steps are measured, and how to say so.

    Attributes:
        due: Tells whether a step, counted from 1, is measured.
        words: What the log says of it.
    """

    due: Callable[[int], bool]
    words: str

    def __call__(self, step: int) -> bool:
        """Return whether a step, counted from 1, is measured."""
        return bool(self.due(step))


class StepCounter:
    """Counts optimizer steps, and asks of each once whether it is measured.

    Attributes:
        steps: How many there were; while one is under way, its number.
        due: The step that is under way, or else the next, is measured.
        due_next: So is the one behind it.
    """

    def __init__(self, schedule: Schedule, done: int) -> None:
        self._schedule = schedule
        self.steps = done
        self.due = self.due_next = schedule(done + 1)

    def begin(self) -> None:
        """Begin a step."""
        self.steps += 1
        self.due_next = self._schedule(self.steps + 1)

    def end(self) -> None:
        """End a step."""
        self.due = self.due_next


def every(number: int) -> Schedule:
    """Measure the first step and every step whose number can be divided by ``number``.

    Args:
        number: 1 for every step.

    Returns:
        The schedule.

    Raises:
        ConfigError: If it is less than 1.
    """
    if number < 1:
        raise ConfigError(f"Steps cannot be measured every {number}; give 1 or more.")
    return Schedule(lambda step: step == 1 or step % number == 0, f"every {number}")


def log_spaced(per_decade: int = 10) -> Schedule:
    """Measure often in the beginning and ever more rarely: evenly on a logarithmic axis.

    Args:
        per_decade: How many steps are measured from 10 to 100, from 100 to 1,000, and so on.

    Returns:
        The schedule.

    Raises:
        ConfigError: If it is less than 1.
    """
    if per_decade < 1:
        raise ConfigError(f"A decade of steps cannot have {per_decade} measured; give 1 or more.")

    def due(step: int) -> bool:
        exponent = 0
        while 10 ** (exponent + 1) <= step:
            exponent += 1
        marks = (round(10 ** (exponent + part / per_decade)) for part in range(per_decade + 1))
        return step in marks

    return Schedule(due, f"log-spaced, {per_decade} per decade")


def make_schedule(wish: int | Callable[[int], bool]) -> Schedule:
    """Turn a number or a function of the step into a schedule.

    Args:
        wish: Every how many steps, a schedule, or a function of the step's number.

    Returns:
        The schedule.

    Raises:
        ConfigError: If it is neither.
    """
    if isinstance(wish, Schedule):
        return wish
    if isinstance(wish, int) and not isinstance(wish, bool):
        return every(wish)
    if callable(wish):
        return Schedule(wish, getattr(wish, "__name__", type(wish).__name__))
    raise ConfigError(
        f"{quoted(wish)} is no schedule: give a number, every(10), log_spaced(), or a function "
        "that says of the number of a step whether it is measured."
    )
