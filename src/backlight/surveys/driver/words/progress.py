"""The progress of a measurement: shown with what it has found, and kept from time to time."""

import time
from collections.abc import Callable

from backlight.errors import StateError
from backlight.runs.directory import RunDirectory
from backlight.surveys.driver.steps import State, Step
from backlight.surveys.driver.words.bars import display

CHECKPOINT_SECONDS = 5.0
"""How often the state of a run is kept, if it is small; a large one less often."""

CHECKPOINT_PATIENCE = 20
"""How many times as long as it took to keep a state it takes until it is kept again."""

FOUND_SECONDS = 2.0
"""How often it is asked what was found so far, if that is quickly said."""

FOUND_PATIENCE = 400
"""How many times as long as it took to say what was found it takes until it is asked again."""


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
    """Progress on standard error, and the state of a run kept from time to time.

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
        found: Callable[[], str] | None = None,
        quiet: bool = False,
    ) -> None:
        """Prepare the bar.

        Args:
            title: What is going on.
            total: Units of the whole.
            done: Units that were done before.
            unit: What is counted; ``trials`` are counted one by one, of all else the speed is told.
            run: Where the state is kept; None for nowhere.
            state: What is kept.
            found: Says in a few words what was found so far; None if nothing can be said.
            quiet: Show nothing.
        """
        self._display = display(title, total=total, done=done, unit=unit, quiet=quiet)
        self._done, self._run, self._state = done, run, state
        self._keeping = _Pause(CHECKPOINT_SECONDS, CHECKPOINT_PATIENCE)
        self._asking = _Pause(FOUND_SECONDS, FOUND_PATIENCE)
        self._ask, self._found = None if quiet else found, ""

    def __enter__(self) -> "Bar":
        self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.stop()

    def tell(self, title: str) -> None:
        """Change what is said of what is going on."""
        self._display.show(done=self._done, found=self._found, title=title)

    def after(self, step: Step, state: str = "") -> None:
        """Count a step, and keep the state if it is time.

        Args:
            step: What was done.
            state: How it goes, in a few words, if the caller knows.
        """
        self._done += step.num_tokens
        if self._ask is not None and self._asking.is_over():
            with self._asking:
                self._found = self._ask()
        self._display.show(done=self._done, found=state or self._found)
        if step.resumable and self._keeping.is_over():
            with self._keeping:
                self.keep()

    def keep(self) -> None:
        """Write the state down, if there is a run to keep it in."""
        if self._run is not None and self._state is not None:
            self._run.save_checkpoint(self._state.state())


class _Pause:
    """The time between two times of something: long, if it takes long."""

    def __init__(self, least: float, patience: float) -> None:
        self._least, self._patience = least, patience
        self._length, self._since, self._begun = least, time.monotonic(), 0.0

    def is_over(self) -> bool:
        return time.monotonic() - self._since >= self._length

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._since = time.monotonic()
        self._length = max(self._least, self._patience * (self._since - self._begun))
