"""The files of a run, wherever it is."""

from pathlib import Path, PurePath

from backlight.runs.remote import Remote
from backlight.runs.stores import Disk, Store
from backlight.runs.urls import place_of


def store_of(path: PurePath) -> Store:
    """Return what reads and writes the files of a run.

    Args:
        path: A folder of this machine, or a URL written as a path.

    Returns:
        The files below it.

    Raises:
        RunDirectoryError: If it is a URL that can hold no run.
    """
    place = place_of(path)
    return Disk(place) if isinstance(place, Path) else Remote(place)
