"""``backlight report``: the figures and the page of a run, drawn from disk; no model, no torch."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from backlight.errors import RunDirectoryError, quoted
from backlight.foreign.files import expanded
from backlight.report.drawing import Drawing, wanted_of
from backlight.runs.directory import RunDirectory
from backlight.runs.results import PAGE
from backlight.runs.urls import Place, is_url, place_of
from backlight.surveys.driver.words.places import short
from backlight.surveys.driver.words.terminal import console
from backlight.surveys.loading import load_results, page_file
from backlight.tools.report.options import ReportConfig


def run(options: ReportConfig) -> None:
    """Redraw the figures and the page of a finished run, and print how many figures they are.

    Args:
        options: The options of the command.
    """
    figures = redraw(options.run_dir, options.figures)
    told = f"{len(figures)} figures and the page redrawn in {short(place_of(options.run_dir))}"
    console().print(told, soft_wrap=True)


def redraw(path: Path, wanted: Literal["all", "overview"] = "all") -> list[Place]:
    """Redraw the figures and the page of a finished run in place.

    Args:
        path: The run directory.
        wanted: Which figures; the others stay as they are.

    Returns:
        The figures.

    Raises:
        RunDirectoryError: If it is no finished run, a run that has no figures, or one whose files
            do not hold what its figures show.
    """
    path = expanded(path, error=RunDirectoryError)
    directory = RunDirectory(path)
    is_run = is_url(path) or path.is_dir()
    command = str(directory.provenance().get("command")) if is_run else "one file"
    results = load_results(path)
    if (presentation := results.presentation) is None:
        raise RunDirectoryError(
            f"The run in {quoted(path)} ({quoted(command)}) has no figures to draw."
        )
    directory.take_up()
    with np.errstate(all="ignore"):  # a stranger's numbers may have any size
        drawings = wanted_of(presentation.draw(results), wanted)
        written = [directory.write_bytes(*drawn) for drawn in _rendered(path, drawings)]
    directory.write_bytes(PAGE, page_file(results))
    directory.list_again()
    return written


def _rendered(path: Path, drawings: Iterable[Drawing]) -> Iterator[tuple[str, bytes]]:
    """Draw the figures of a run, whose files may lack anything: they may be a stranger's."""
    from backlight.report.rendering import rendered

    try:
        for drawing in drawings:
            yield drawing.name, rendered(drawing.name, drawing.make())
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RunDirectoryError(
            f"The figures of the run in {quoted(path)} cannot be drawn: its files do not hold "
            f"what they show ({type(error).__name__}: {quoted(str(error))}). Measure again."
        ) from error
