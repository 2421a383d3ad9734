"""One line in the terminal that says how the gradient is."""

import math
import sys
from collections.abc import Sequence

from backlight.training.guarding.guard import attempt, message_of, warn_once
from backlight.training.log.history import Event
from backlight.training.measuring.measurement import Measurement

_TO_THE_END = "\x1b[K"


class StatusLine:
    """A line on stderr that is written again and again; silent where there is no terminal."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown and _is_terminal()

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._shown:
            self._write(f"\r{text}{_TO_THE_END}")

    def close(self) -> None:
        """Leave the last line where it is, and go to the next."""
        if self._shown:
            self._write("\n")
            self._shown = False

    def _write(self, text: str) -> None:
        """Write to the terminal; if it is not there any more, be silent from now on."""

        def write() -> None:
            sys.stderr.write(text)
            sys.stderr.flush()

        error = attempt(write)
        if error is not None:
            self._shown = False
            warn_once(
                f"The terminal is gone ({message_of(error)}); the line of the watch is not shown "
                "any more."
            )


def _is_terminal() -> bool:
    found: list[bool] = []
    attempt(lambda: found.append(sys.stderr.isatty()))  # it may be closed, or None
    return found == [True]


def describe_step(
    step: int, loss: float | None, measured: Measurement, events: Sequence[Event]
) -> str:
    """Describe in one line how a step went.

    Args:
        step: The step.
        loss: Its loss; None if unknown.
        measured: Its numbers.
        events: What has happened so far.

    Returns:
        The line.
    """
    norm, clipped_norm = measured.norm, measured.clipped_norm
    parts = [f"step {step}"]
    if loss is not None and not math.isnan(loss):
        parts.append(f"loss {loss:.4g}")
    clipped = clipped_norm < 0.999 * norm
    parts.append(f"gradient {norm:.3g}" + (f" clipped to {clipped_norm:.3g}" if clipped else ""))
    parts.append(f"update/weight {measured.median_update_ratio:.1e}")
    bad = [event.step for event in events if event.what == "non_finite"]
    skipped = sum(event.what == "skipped" for event in events)
    if skipped:
        parts.append(f"{skipped} skipped")
    if bad:
        parts.append(f"NOT FINITE since step {bad[0]}")
    return "  ".join(parts)
