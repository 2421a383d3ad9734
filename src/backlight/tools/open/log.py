"""The doctor's page beside the log of a training."""

import shlex
from pathlib import Path

from backlight.report.page.document import refuse_page
from backlight.report.page.writing import write_page
from backlight.runs.results import PAGE
from backlight.training.doctor.diagnosis import diagnose
from backlight.training.log.reading import HEADER, LOG, read_history
from backlight.training.showing.page import page_of

_OTHERWISE = "move it away"


def page_of_log(path: Path) -> Path:
    """Judge a training by its log, and write what was found as a page beside it.

    Args:
        path: A directory that ``backlight.watch`` wrote, the log of another tool, or a folder that
            holds it.

    Returns:
        The file: ``index.html`` in the directory, or the log's name with ``.html`` behind it.

    Raises:
        ConfigError: If something is there that is no page of backlight.
        RunDirectoryError: If there is no log.
    """
    if path.name in (LOG, HEADER) and is_watched(path.parent):
        path = path.parent
    page = path / PAGE if path.is_dir() else path.with_name(f"{path.name}.html")
    refuse_page(page, otherwise=_OTHERWISE)
    history = read_history(path)
    place = shlex.quote(str(path))
    commands = {
        "Judge it again:": f"backlight doctor {place}",
        "Write this page again:": f"backlight open {place}",
    }
    made = page_of(history, diagnose(history), title=str(path), commands=commands)
    write_page(page, made, otherwise=_OTHERWISE)
    return page


def is_watched(path: Path) -> bool:
    """Find out whether ``backlight.watch`` wrote a directory."""
    try:
        return (path / HEADER).is_file()
    except (OSError, ValueError):  # a name that no file can have; opening it says so
        return False
