"""The page of a finished run, which stands among the run's own files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import platformdirs

from backlight.errors import ConfigError, quoted
from backlight.report.page.document import is_inert
from backlight.runs.directory import RunDirectory
from backlight.runs.files import digest_of, write_file
from backlight.runs.results import PAGE
from backlight.surveys.loading import load_results, page_file


def page_of_run(path: Path, *, again: bool, statistics: Sequence[str] = ()) -> Path:
    """Write the page of a finished run, if it is not there or another is asked for.

    One that this version did not write, or that something else than its script can run in, is
    written anew: the run may be a stranger's.

    Args:
        path: The run directory.
        again: Write it in any case.
        statistics: Which numbers of every feature it holds; empty for the usual ones.

    Returns:
        The file.

    Raises:
        ConfigError: If statistics are asked for, and this is no run of features.
        RunDirectoryError: If the run is not finished or has no page, or a file of it is damaged.
    """
    directory = RunDirectory(path)
    chosen = _chosen(directory, statistics)
    if directory.is_finished and not again and not statistics and _has_page(path):
        return path / PAGE
    content = page_file(load_results(path), **chosen)
    directory.take_up()
    directory.write_bytes(PAGE, content)
    directory.list_again()
    return path / PAGE


def page_of_remote_run(path: Path, *, statistics: Sequence[str] = ()) -> Path:
    """Write the page of a finished run on another file system to this machine, to be shown.

    Args:
        path: The URL of the run; nothing is written there.
        statistics: Which numbers of every feature it holds; empty for the usual ones.

    Returns:
        The file, in the folder of what backlight remembers: one for each run, written anew.

    Raises:
        ConfigError: If statistics are asked for, and this is no run of features.
        RunDirectoryError: If the run is not finished or has no page, or a file of it is damaged.
        StorageError: If the place cannot be reached.
    """
    directory = RunDirectory(path)
    chosen = _chosen(directory, statistics)
    content = page_file(load_results(directory.path), **chosen)
    folder = digest_of(str(directory.path).encode())[:16]
    page = platformdirs.user_cache_path("backlight") / "pages" / folder / PAGE
    write_file(page, content)
    return page


def _chosen(directory: RunDirectory, statistics: Sequence[str]) -> dict[str, Any]:
    """Say what a page is to hold; raises a ConfigError if the run has nothing to choose from."""
    command = directory.provenance().get("command")
    if statistics and command != "sae":
        raise ConfigError(
            f"--statistics chooses what the page of a run of sae holds; {quoted(directory.path)} "
            f"is a run of {quoted(command)}."
        )
    return {"statistics": statistics} if statistics else {}


def _has_page(path: Path) -> bool:
    return PAGE in RunDirectory(path).written() and is_inert(path / PAGE)
