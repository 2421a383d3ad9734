"""Runs and logs of trainings in a folder, found without following links or searching for ever."""

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backlight.runs.config import CONFIG
from backlight.runs.directory import RunDirectory
from backlight.runs.ledger import MANIFEST
from backlight.tools.open.log import is_watched

DEEPEST = 4
"""How many folders deep is searched."""

MOST_RUNS = 2000
"""How many runs are found; the search then ends."""

_MOST_FOLDERS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found.

    Attributes:
        places: The directories that hold a run or the log of a training.
        num_links: Links to folders, which were not followed.
        num_closed: Folders that could not be read.
        is_whole: Everything was looked at.
    """

    places: Sequence[Path]
    num_links: int = 0
    num_closed: int = 0
    is_whole: bool = True


def find_runs(root: Path) -> Found:
    """Find the runs below a folder, those that are less deep first.

    Args:
        root: The folder. Hidden folders and links in it are passed over.

    Returns:
        What was found; a run is not searched for others inside of it.
    """
    waiting, places = deque([(root, 0)]), list[Path]()
    num_links = num_closed = num_folders = 0
    while waiting and len(places) < MOST_RUNS and num_folders < _MOST_FOLDERS:
        folder, depth = waiting.popleft()
        num_folders += 1
        if depth and (is_watched(folder) or is_run(folder)):
            places.append(folder)
            continue
        try:
            folders, links = _inside(folder)
        except OSError:
            num_closed += 1
            continue
        num_links += links
        if depth < DEEPEST:
            waiting.extend((each, depth + 1) for each in folders)
    return Found(places=places, num_links=num_links, num_closed=num_closed, is_whole=not waiting)


def is_run(path: Path) -> bool:
    """Find out whether backlight started a run in a directory, also one that is damaged."""
    try:
        is_whole = (path / CONFIG).is_file() and (path / MANIFEST).is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
    return is_whole or RunDirectory(path).exists()


def _inside(folder: Path) -> tuple[list[Path], int]:
    """List the folders in a folder, by name, and count the links to others."""
    folders, links = list[Path](), 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not entry.is_dir():
                continue
            if entry.is_symlink():
                links += 1
            else:
                folders.append(Path(entry.path))
    return sorted(folders), links
