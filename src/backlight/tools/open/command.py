"""``backlight open``: the page of a run, of a training's log, or of all runs, in the browser."""

import os
from pathlib import Path

from backlight.errors import ConfigError, RunDirectoryError, quoted
from backlight.foreign.files import expanded
from backlight.foreign.text import plain
from backlight.report.page.document import is_page
from backlight.report.page.writing import write_page
from backlight.runs.results import PAGE
from backlight.surveys.driver.terminal import console
from backlight.tools.open.browser import show
from backlight.tools.open.finding import DEEPEST, find_runs, is_run
from backlight.tools.open.index import index_of
from backlight.tools.open.log import is_watched, page_of_log
from backlight.tools.open.options import OpenConfig
from backlight.tools.open.run import page_of_run


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
    if not os.path.lexists(path):
        raise RunDirectoryError(f"There is no run, log or folder {quoted(path)}; name another.")
    if is_run(path):
        wanted = () if options.statistics is None else tuple(options.statistics.split(","))
        return page_of_run(path, again=options.again, statistics=wanted)
    if options.statistics is not None:
        raise ConfigError(
            "--statistics chooses what the page of a run of sae holds, and "
            f"{quoted(path)} is no run."
        )
    if path.is_file() and is_page(path):
        return path
    if not path.is_dir() or is_watched(path):
        return page_of_log(path)
    return _page_of_folder(path)


def _page_of_folder(path: Path) -> Path:
    found = find_runs(path)
    if found.places:
        write_page(path / PAGE, index_of(path, found), otherwise="move it away")
        return path / PAGE
    try:
        return page_of_log(path)
    except RunDirectoryError as error:
        raise RunDirectoryError(
            f"{quoted(path)} is no run of backlight and holds none, {DEEPEST} folders deep; nor is "
            f"there a log: {error}"
        ) from error
