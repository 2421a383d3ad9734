"""How progress is shown: a bar in a terminal, a line in a notebook or a log, or nothing."""

import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import final

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from backlight.foreign.text import plain
from backlight.surveys.driver.words.terminal import console

LOG_SECONDS = 30.0
"""How often progress is told where there is no terminal."""

NOTEBOOK_SECONDS = 0.5
"""How often the line below a cell of a notebook is written anew."""

TRIALS = "trials"
"""The unit of what is counted one by one; of all else the speed is told."""

_MINUTE, _HOUR = 60, 3600


class Display(ABC):
    """What shows how far some work has come."""

    def start(self) -> None:  # noqa: B027  # there may be nothing to do
        """Begin to show it."""

    def stop(self) -> None:  # noqa: B027
        """Leave nothing behind."""

    @abstractmethod
    def show(self, *, done: int, found: str, title: str | None = None) -> None:
        """Show how far it has come.

        Args:
            done: Units that are done.
            found: What was found so far, in a few words.
            title: What is going on from now on; None for what went on before.
        """


def display(title: str, *, total: int, done: int, unit: str, quiet: bool) -> Display:
    """Choose how progress is shown.

    Args:
        title: What is going on.
        total: Units of the whole.
        done: Units that were done before.
        unit: What is counted.
        quiet: Show nothing.

    Returns:
        What shows it: a bar if standard error is a terminal, lines if it is none.
    """
    if quiet:
        return _Nothing()
    there = console(stderr=True)
    if there.is_jupyter:
        return _Notebook(title, total=total, unit=unit)
    if there.is_terminal:
        return _Bar(title, total=total, done=done, unit=unit)
    return _Lines(title, total=total, unit=unit)


@final
class _Nothing(Display):
    """Shows nothing."""

    def show(self, *, done: int, found: str, title: str | None = None) -> None:
        """See ``Display.show``."""


@final
class _Bar(Display):
    """A bar in a terminal, and below it what was found so far; both are gone in the end."""

    def __init__(self, title: str, *, total: int, done: int, unit: str) -> None:
        counted = (MofNCompleteColumn(),) if unit == TRIALS else (_PERCENT, _Speed(unit))
        columns = (_TITLE, BarColumn(), *counted, TimeRemainingColumn())
        self._bar = _WithFindings(*columns, console=console(stderr=True), transient=True)
        self._task = self._bar.add_task(plain(title), total=total, completed=done, found="")

    def start(self) -> None:
        """See ``Display.start``."""
        self._bar.start()

    def stop(self) -> None:
        """See ``Display.stop``."""
        self._bar.stop()

    def show(self, *, done: int, found: str, title: str | None = None) -> None:
        """See ``Display.show``."""
        told = None if title is None else plain(title)
        self._bar.update(self._task, completed=done, found=plain(found), description=told)


class _Told(Display):
    """Progress in words, told again from time to time."""

    def __init__(self, title: str, *, total: int, unit: str) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._first: tuple[float, int] | None = None
        self._told = time.monotonic()

    def start(self) -> None:
        """See ``Display.start``."""
        self._told = time.monotonic()

    def show(self, *, done: int, found: str, title: str | None = None) -> None:
        """See ``Display.show``."""
        self._title = self._title if title is None else title
        now = time.monotonic()
        if self._first is None:  # speed is that of what follows: the first batch waits for much
            self._first = now, done
        if now - self._told < self.patience():
            return
        self._told = now
        begun, before = self._first
        line = progress_line(
            self._title,
            done=done,
            total=self._total,
            rate=(done - before) / (now - begun) if done > before else 0.0,
            unit=self._unit,
        )
        self.tell(plain(f"{line}; {found}" if found else line))

    @abstractmethod
    def patience(self) -> float:
        """Return how many seconds pass between two lines."""

    @abstractmethod
    def tell(self, line: str) -> None:
        """Show a line."""


@final
class _Lines(_Told):
    """Plain lines, such as a log keeps; none of work that is done soon."""

    def patience(self) -> float:
        """See ``_Told.patience``."""
        return LOG_SECONDS

    def tell(self, line: str) -> None:
        """See ``_Told.tell``."""
        console(stderr=True).print(line, soft_wrap=True)


@final
class _Notebook(_Told):
    """A line below the cell of a notebook, written over as the work goes on, gone in the end."""

    def start(self) -> None:
        """See ``Display.start``."""
        super().start()
        shown = importlib.import_module("IPython.display")
        self._place = shown.display({"text/plain": ""}, raw=True, display_id=True)

    def stop(self) -> None:
        """See ``Display.stop``."""
        self.tell("")

    def patience(self) -> float:
        """See ``_Told.patience``."""
        return NOTEBOOK_SECONDS

    def tell(self, line: str) -> None:
        """See ``_Told.tell``."""
        self._place.update({"text/plain": line}, raw=True)


def progress_line(title: str, *, done: int, total: int, rate: float, unit: str) -> str:
    """Write how far some work has come.

    Args:
        title: What is going on.
        done: Units that are done.
        total: Units of the whole.
        rate: Units done in a second.
        unit: What is counted.

    Returns:
        Such as ``layers: 45 %, 1,234 tokens/s, 2 min left``.
    """
    counted = f"{done:,} of {total:,}" if unit == TRIALS else f"{100 * done / max(total, 1):.0f} %"
    parts = [f"{title}: {counted}"]
    if rate > 0:
        parts += [] if unit == TRIALS else [_speed(rate, unit)]
        parts.append(f"{_duration((total - done) / rate)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"


class _WithFindings(Progress):
    """A bar with a line below it."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        found = self.tasks[0].fields["found"] if self.tasks else ""
        if found:
            yield Text(found, no_wrap=True, overflow="ellipsis")


class _Speed(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(_speed(task.speed, self._unit) if task.speed else "")


def _speed(rate: float, unit: str) -> str:
    return f"{rate:,.0f} {unit}/s" if rate >= 1 else f"{60 * rate:,.0f} {unit}/min"


_TITLE = TextColumn("{task.description}", markup=False)
_PERCENT = TextColumn("{task.percentage:>3.0f}%")
