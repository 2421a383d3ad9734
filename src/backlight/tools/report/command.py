"""``backlight report``: every figure of a run, redrawn from disk; no model, no torch."""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from backlight.errors import RunDirectoryError, quoted
from backlight.foreign.files import expanded
from backlight.foreign.text import plain
from backlight.runs.directory import RunDirectory
from backlight.runs.results import Results, load_results
from backlight.surveys import SURVEYS
from backlight.surveys.driver.terminal import console
from backlight.tools.report.options import ReportConfig


def run(options: ReportConfig) -> None:
    """Redraw all figures of a finished run, and print how many they are.

    Args:
        options: The options of the command.
    """
    figures = redraw(options.run_dir)
    console().print(f"{len(figures)} figures redrawn in {plain(options.run_dir)}", soft_wrap=True)


def redraw(path: Path) -> list[Path]:
    """Redraw all figures of a finished run in place.

    Args:
        path: The run directory.

    Returns:
        The figures.

    Raises:
        RunDirectoryError: If it is no finished run, a run that has no figures, or one whose files
            do not hold what its figures show.
    """
    path = expanded(path, error=RunDirectoryError)
    directory = RunDirectory(path)
    command = str(directory.provenance().get("command")) if path.is_dir() else "one file"
    results = load_results(path)
    if command in SURVEYS:
        draw = SURVEYS[command].door("figures").draw
    elif command.startswith("lab "):
        draw = import_module("backlight.report.plot_drawing").draw
    else:
        raise RunDirectoryError(
            f"The run in {quoted(path)} ({quoted(command)}) has no figures to draw."
        )
    directory.take_up()
    with np.errstate(all="ignore"):  # a stranger's numbers may have any size
        drawn = _rendered(path, draw, results)
        written = [directory.write_bytes(name, content) for name, content in drawn]
    directory.list_again()
    return written


def _rendered(
    path: Path, draw: Callable[[Results], Iterable[tuple[str, Any]]], results: Results
) -> Iterator[tuple[str, bytes]]:
    """Draw the figures of a run, whose files may lack anything: they may be a stranger's."""
    from backlight.report.rendering import rendered

    try:
        for name, figure in draw(results):
            yield name, rendered(name, figure)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RunDirectoryError(
            f"The figures of the run in {quoted(path)} cannot be drawn: its files do not hold "
            f"what they show ({type(error).__name__}: {quoted(str(error))}). Measure again."
        ) from error
