"""``backlight open``: the page of a run, of a training's log, or of all runs, in the browser."""

import os
from pathlib import Path

from backlight.errors import BacklightError, ConfigError, RunDirectoryError, quoted
from backlight.foreign.files import expanded
from backlight.foreign.text import plain
from backlight.report.page.document import is_inert, is_page, refuse_page
from backlight.report.page.writing import write_page
from backlight.runs.results import PAGE
from backlight.runs.urls import is_url
from backlight.surveys.driver.words.terminal import console
from backlight.tools.open.browser import show
from backlight.tools.open.finding import DEEPEST, find_runs, is_run
from backlight.tools.open.index import index_of
from backlight.tools.open.log import is_watched, page_of_log
from backlight.tools.open.options import OpenConfig
from backlight.tools.open.run import page_of_remote_run, page_of_run


def run(options: OpenConfig) -> None:
    """Write the page that the options ask for, if it is not there, and show it.

    Args:
        options: The options of the command.
    """
    page = page_at(options)
    is_shown = not options.no_browser and show(page)
    told = f"{plain(page)} is shown in the browser." if is_shown else plain(page)
    console().print(told, soft_wrap=True)


def page_at(options: OpenConfig) -> Path:
    """Write the page that the options ask for, if it is not there.

    Args:
        options: The options of the command.

    Returns:
        The file.

    Raises:
        ConfigError: If an option has no effect, or something is in the way that is no page.
        RunDirectoryError: If there is no run and no log, or the run is not finished.
    """
    path = expanded(options.run_dir, error=RunDirectoryError)
    wanted = () if options.statistics is None else tuple(options.statistics.split(","))
    if is_url(path):
        return page_of_remote_run(path, statistics=wanted)
    if not os.path.lexists(path):
        raise RunDirectoryError(f"There is no run, log or folder {quoted(path)}; name another.")
    if path.name == PAGE and is_run(path.parent):
        path = path.parent
    if is_run(path):
        return page_of_run(path, again=options.again, statistics=wanted)
    if options.statistics is not None:
        raise ConfigError(
            "--statistics chooses what the page of a run of sae holds, and "
            f"{quoted(path)} is no run."
        )
    if is_page(path):
        return _own(path)
    if not path.is_dir() or is_watched(path):
        return page_of_log(path)
    return _page_of_folder(path, again=options.again)


def _own(page: Path) -> Path:
    """Refuse a page in which a stranger's script could run."""
    if not is_inert(page):
        raise RunDirectoryError(
            f"{quoted(page)} is a page of another version of backlight, or a stranger's; write it "
            "anew: backlight open with the run or the log that it shows."
        )
    return page


def _page_of_folder(path: Path, *, again: bool) -> Path:
    found = find_runs(path)
    if found.places:
        refuse_page(path / PAGE, otherwise="move it away")
        for place in found.places if again else ():
            _write_page(place)
        write_page(path / PAGE, index_of(path, found), otherwise="move it away")
        return path / PAGE
    try:
        return page_of_log(path)
    except RunDirectoryError as error:
        raise RunDirectoryError(
            f"{quoted(path)} is no run of backlight and holds none, {DEEPEST} folders deep; nor is "
            f"there a log: {error}"
        ) from error


def _write_page(place: Path) -> None:
    """Write the page of one of many runs or logs; for one that has none, say why."""
    try:
        if is_watched(place):
            page_of_log(place)
        else:
            page_of_run(place, again=True)
    except BacklightError as error:
        console(stderr=True).print(plain(error), soft_wrap=True)
