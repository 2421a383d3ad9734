"""The terminal, and a bar that follows a measurement and keeps its state from time to time."""

import sys
import time
from typing import Any

from rich.console import Console
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

from backlight.errors import StateError
from backlight.foreign.streams import Unhindered
from backlight.foreign.text import plain
from backlight.runs.directory import RunDirectory
from backlight.surveys.driver.steps import State, Step

CHECKPOINT_SECONDS = 5.0
"""How often the state of a run is kept, if it is small; a large one less often."""

CHECKPOINT_PATIENCE = 20
"""How many times as long as it took to keep a state it takes until it is kept again."""

_PLAIN_WIDTH = 172


class _PlainConsole(Console):
    """A terminal to which all text goes as it is to be read: nothing in it steers or hides."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(plain(text, lines=True), **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # main ends as other commands do; rich would leave the process


def console(*, stderr: bool = False, markup: bool = False) -> Console:
    """Open the terminal; where there is none, lines are long rather than broken.

    Args:
        stderr: Write to standard error, where a line that cannot be written stops nothing.
        markup: Read ``[bold]`` and the like; foreign text must then be escaped.

    Returns:
        The terminal.
    """
    file: Any = Unhindered(sys.stderr) if stderr else None
    looks: dict[str, Any] = {"file": file, "highlight": False, "markup": markup, "emoji": False}
    made = _PlainConsole(**looks)
    return made if made.is_terminal else _PlainConsole(**looks, width=_PLAIN_WIDTH)


def restore_checkpoint(run: RunDirectory | None, state: State) -> bool:
    """Restore a state where a run was stopped.

    Args:
        run: The run; None for none.
        state: What takes the kept state over; it refuses one that is not of its form.

    Returns:
        Whether there was one.

    Raises:
        RunDirectoryError: If it is damaged, or has another form than this version's.
    """
    saved = None if run is None else run.load_checkpoint()
    if run is None or saved is None:
        return False
    try:
        state.restore(saved)
    except (StateError, KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        raise run.damaged_checkpoint(error) from error
    return True


class Bar:
    """A progress bar on standard error, gone when the work is done.

    The work stays with the caller, who calls ``after`` when a step is done:

        with Bar("layers", total=5_000) as bar:
            for step in steps:
                bar.after(step)
            bar.keep()
    """

    def __init__(
        self,
        title: str,
        *,
        total: int,
        done: int = 0,
        unit: str = "tokens",
        run: RunDirectory | None = None,
        state: State | None = None,
    ) -> None:
        """Prepare the bar.

        Args:
            title: What is going on.
            total: Units of the whole.
            done: Units that were done before.
            unit: What is counted; ``trials`` are counted one by one, of all else the speed is told.
            run: Where the state is kept; None for nowhere.
            state: What is kept.
        """
        counted = (MofNCompleteColumn(),) if unit == "trials" else (_PERCENT, _Speed(unit))
        columns = (_TITLE, BarColumn(), *counted, TimeRemainingColumn(), _STATE)
        self._bar = Progress(*columns, console=console(stderr=True), transient=True)
        self._task = self._bar.add_task(plain(title), total=total, completed=done, state="")
        self._run, self._state = run, state
        self._kept, self._pause = time.monotonic(), CHECKPOINT_SECONDS

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, title: str) -> None:
        """Change what is said of what is going on."""
        self._bar.update(self._task, description=plain(title))

    def after(self, step: Step, state: str = "") -> None:
        """Count a step, and keep the state if it is time.

        Args:
            step: What was done.
            state: How it goes, in a few words.
        """
        self._bar.update(self._task, advance=step.num_tokens, state=plain(state))
        if step.resumable and time.monotonic() - self._kept >= self._pause:
            begun = time.monotonic()
            self.keep()
            self._kept = time.monotonic()
            self._pause = max(CHECKPOINT_SECONDS, CHECKPOINT_PATIENCE * (self._kept - begun))

    def keep(self) -> None:
        """Write the state down, if there is a run to keep it in."""
        if self._run is not None and self._state is not None:
            self._run.save_checkpoint(self._state.state())


class _Speed(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} {self._unit}/s" if task.speed else "")


_TITLE = TextColumn("{task.description}", markup=False)
_PERCENT = TextColumn("{task.percentage:>3.0f}%")
_STATE = TextColumn("{task.fields[state]}", markup=False)
