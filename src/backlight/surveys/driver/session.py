"""What every survey shares: finding its run directory, showing progress, keeping checkpoints."""

import logging
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from backlight.errors import ConfigError, RunDirectoryError, StateError, quoted
from backlight.foreign.streams import Unhindered
from backlight.foreign.text import plain
from backlight.runs.config import CONFIG
from backlight.runs.directory import RunDirectory
from backlight.runs.files import unwritable
from backlight.runs.finding import find_latest
from backlight.runs.places import refuse_place
from backlight.surveys.driver.options import RunOptions
from backlight.surveys.driver.reading import same_numbers

ROOT = Path("runs")
"""Where automatically named run directories are made."""

CHECKPOINT_SECONDS = 5.0
"""How often the state of a run is kept, if it is small; a large one less often."""

CHECKPOINT_PATIENCE = 20
"""How many times as long as it took to keep a state it takes until it is kept again."""

_PLAIN_WIDTH = 160
_NOT_IN_A_NAME = re.compile(r"[^\w.,+=-]", re.ASCII)
_LONGEST_NAME, _STAMP = 150, len("_20250101_000000")
_logger = logging.getLogger(__name__)
_OF_ONE = re.compile(r"layer_|figures/gradient_pca_")  # pictures of one layer or position


@runtime_checkable
class _Resumable(Protocol):
    def state(self) -> Mapping[str, NDArray[Any]]: ...


@runtime_checkable
class _Step(Protocol):
    @property
    def num_tokens(self) -> int: ...

    @property
    def resumable(self) -> bool: ...


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


def find_run(config: RunOptions, command: str) -> RunDirectory | None:
    """Find the run that ``--resume`` means, and refuse directories that may not be written.

    Args:
        config: The command's options.
        command: Its name.

    Returns:
        An earlier run to go on with; None if a new one is to be started, or nothing is written.

    Raises:
        ConfigError: If ``--resume`` and ``--overwrite`` are both asked for, or ``--overwrite``
            without a directory.
        RunDirectoryError: If the directory holds a run and neither was asked for, if it holds a
            run with other options, or if there is nothing to go on with.
    """
    if config.resume and config.overwrite:
        raise ConfigError("--resume and --overwrite exclude each other: go on, or start anew.")
    if config.overwrite and config.output_dir is None:
        raise ConfigError("--overwrite says to replace a run, but not which: name --output_dir.")
    options = same_numbers(config)
    if config.output_dir is None:
        if config.save_outputs:
            refuse_place(ROOT)
        return _told(find_latest(ROOT, command, options)) if config.resume else None
    run = RunDirectory(config.output_dir)
    if config.resume and run.exists():
        _refuse_another(run, command, options)
        return _told(run)
    RunDirectory.refuse_occupied(run.path, replacing=config.overwrite)
    return None


def start_run(config: RunOptions, name: str, provenance: Mapping[str, Any]) -> RunDirectory | None:
    """Make the directory of a new run, if one was asked for.

    Args:
        config: The command's options.
        name: How an automatically named directory begins; the time is added.
        provenance: Where the run comes from.

    Returns:
        The directory, None if nothing is to be written.
    """
    path = config.output_dir
    if path is None:
        if not config.save_outputs:
            return None
        path = _new_directory(f"{name}_{datetime.now().strftime('%Y%m%d_%H%M%S')}")
    options = {**same_numbers(config), "save_outputs": True}
    return RunDirectory.create(path, options, provenance, overwrite=config.overwrite)


def _refuse_another(run: RunDirectory, command: str, options: Mapping[str, Any]) -> None:
    """Refuse to go on with a run of another command, or with other options."""
    if not run.is_of(command):
        there = quoted(run.provenance().get("command"))
        raise RunDirectoryError(
            f"{quoted(run.path)} holds a run of another command ({there}, not {command!r}); "
            "name another --output_dir."
        )
    differences = run.differences(options)
    if differences:
        raise RunDirectoryError(
            f"{quoted(run.path)} holds a run with other options ({'; '.join(differences)}); "
            "resume with the same, or name another --output_dir."
        )


def _told(run: RunDirectory) -> RunDirectory:
    if run.is_finished:
        _logger.info("The run in %s is finished: nothing is left to do.", run.path)
    return run


def _new_directory(name: str) -> Path:
    """Make a directory for a run under a name that no other run has, also not at this moment."""
    plain = _NOT_IN_A_NAME.sub("_", name)
    stem = plain if len(plain) <= _LONGEST_NAME else f"{plain[:_LONGEST_NAME]}{plain[-_STAMP:]}"
    for number in count(1):
        path = ROOT / (stem if number == 1 else f"{stem}_{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise unwritable(path, error) from error
        return path
    raise AssertionError("numbers have no end")


def restore_checkpoint(
    run: RunDirectory, restore: Callable[[dict[str, NDArray[Any]]], object]
) -> bool:
    """Let a state be taken up where a run was stopped.

    Args:
        run: The run.
        restore: Takes over the state; it refuses one that is not of its form.

    Returns:
        Whether there was one.

    Raises:
        RunDirectoryError: If it is damaged, or has another form than this version's.
    """
    saved = run.load_checkpoint()
    if saved is None:
        return False
    try:
        restore(saved)
    except (StateError, KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        raise run.damaged_checkpoint(error) from error
    return True


def follow(
    steps: Iterable[_Step],
    state: _Resumable,
    run: RunDirectory | None,
    *,
    title: str,
    total_tokens: int,
    done_tokens: int = 0,
    unit: str = "tokens",
) -> None:
    """Drive an analysis to its end, showing progress and keeping checkpoints.

    Args:
        steps: The analysis; each step tells how many tokens it took.
        state: Its state, changed by each step.
        run: Where checkpoints go; None for none.
        title: What the progress bar says.
        total_tokens: Tokens of the whole corpus.
        done_tokens: Tokens that were done before.
        unit: What is counted, if not tokens.
    """
    saved, pause = time.monotonic(), CHECKPOINT_SECONDS
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        _Speed(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(plain(title), total=total_tokens, completed=done_tokens)
        for step in steps:
            bar.advance(task, step.num_tokens)
            if run is not None and step.resumable and time.monotonic() - saved >= pause:
                begun = time.monotonic()
                run.save_checkpoint(state.state())
                saved = time.monotonic()
                pause = max(CHECKPOINT_SECONDS, CHECKPOINT_PATIENCE * (saved - begun))
    if run is not None:
        run.save_checkpoint(state.state())


def print_places(directory: RunDirectory, command: str) -> None:
    """Print where the results of a finished run are.

    Args:
        directory: The run.
        command: What it is a run of.
    """
    files = [str(name) for name in directory.manifest()["files"]]
    pictures = [name for name in files if name.endswith((".png", ".svg"))]
    overviews = [name for name in pictures if not _OF_ONE.match(name)]
    place, config = (shlex.quote(str(path)) for path in (directory.path, directory.path / CONFIG))
    lines = [
        "",
        f"Results   {directory.path}",
        f"Figures   {len(pictures)}, overviews:",
        *(f"          {directory.path / name}" for name in overviews),
        "Tables    " + ", ".join(name for name in files if name.endswith(".csv")),
        f"Again     backlight report {place}   (redraws the figures)",
        f"          backlight {command} {config}   (measures again)",
    ]
    console().print("\n".join(lines), soft_wrap=True)


class Clock:
    """Seconds since the start of a command, by the names of its phases.

    Attributes:
        laps: Seconds of each finished phase.
    """

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._start = self._lap = self._split = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a phase, or one more part of it."""
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + now - self._lap
        self._lap = self._split = now

    def split(self) -> float:
        """Tell the seconds since the last split or phase."""
        now = time.perf_counter()
        seconds, self._split = now - self._split, now
        return seconds

    def total(self) -> float:
        """Tell the seconds since the start."""
        return time.perf_counter() - self._start


class _Speed(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} {self._unit}/s" if task.speed else "")
