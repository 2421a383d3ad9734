"""Where something is, on as little of a line as may be: pages, tables, and commands to go on."""

import fnmatch
import os
import shlex
from pathlib import Path, PurePath

from rich.cells import cell_len

from backlight.foreign.text import plain
from backlight.runs.config import CONFIG
from backlight.runs.directory import RunDirectory
from backlight.runs.results import PAGE, Results
from backlight.surveys.driver.words.cutting import cut_start
from backlight.surveys.driver.words.terminal import console

LABEL = 10
"""Columns of the word before a place."""

_HOME = "~/"
_CUT = "…"


def short(place: PurePath, room: int | None = None) -> str:
    """Write where something is: from here, from the home directory, or as it is, if shorter.

    >>> short(Path.home() / "runs")
    '~/runs'
    >>> short(Path("a long folder/of runs/layers/index.html"), 20)
    '…/layers/index.html'

    Args:
        place: A path, or a URL, which stays as it is.
        room: How many columns there are; None for as many as it takes.

    Returns:
        The place. If there is no room for all of it, its beginning is cut off.
    """
    whole = plain(_shortest(place))
    if room is None or cell_len(whole) <= room:
        return whole
    separator = os.sep
    parts = whole.split(separator)
    tails = (separator.join([_CUT, *parts[first:]]) for first in range(1, len(parts)))
    fits = next((tail for tail in tails if cell_len(tail) <= room), None)
    return cut_start(whole, room) if fits is None else fits


def in_command(place: PurePath) -> str:
    """Write a place so that a shell reads it as one word."""
    whole = plain(_shortest(place))
    if whole.startswith(_HOME):  # a tilde that is quoted is no home
        return f"{_HOME}{shlex.quote(whole.removeprefix(_HOME))}"
    return shlex.quote(whole)


def _shortest(place: PurePath) -> str:
    given = str(place)
    if not isinstance(place, Path):
        return given
    return min([_no_home(given), *_forms(place)], key=len)  # the first of those equally long


def _no_home(relative: str) -> str:
    """Write a path so that a folder called ``~`` is not taken for the home directory."""
    return f"{os.curdir}{os.sep}{relative}" if relative.startswith("~") else relative


def _forms(place: Path) -> list[str]:
    try:
        whole = os.path.abspath(place)  # noqa: PTH100  # links are left as they are
        from_here = _no_home(os.path.relpath(whole))
        home = os.path.relpath(whole, Path.home())
    except (OSError, RuntimeError, ValueError):  # no folder to be in, no home, another drive
        return []
    return [from_here] if home.startswith(os.pardir) else [from_here, f"{_HOME}{home}"]


def where_it_went(results: Results, command: str, picture: str) -> list[str]:
    """Describe where the results of a finished run are.

    Args:
        results: The results.
        command: What it is a run of.
        picture: The name of the figure that says most, or a pattern for it.

    Returns:
        A line for each kind of file, which is longer than the terminal is wide only if it is a
        command; none if nothing was written.
    """
    path = results.path
    if path is None:
        return []
    room = console().width - LABEL
    files = [str(name) for name in RunDirectory(path).manifest()["files"]]
    pictures = [name for name in files if name.endswith((".png", ".svg"))]
    main = fnmatch.filter(pictures, picture)[-1:]  # of several modes the last: mean_abs
    number = f"{len(pictures)} in "
    others = f", such as {plain(main[0])}" if main and len(pictures) > 1 else ""
    lines = {
        "Page": short(path / PAGE, room) if PAGE in files else "",
        "Figures": f"{number}{short(path, room - len(number + others))}{others}" * bool(pictures),
        "Tables": short(path / "tables" / "*.csv", room),
        "Again": f"backlight {command} {in_command(path / CONFIG)}",
    }
    return [f"{what:<{LABEL}}{where}" for what, where in lines.items() if where]
