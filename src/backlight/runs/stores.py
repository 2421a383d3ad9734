"""Where the files of a run are: a folder of this machine, or a place that fsspec reaches."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, final, runtime_checkable

from backlight.atomic import write_whole
from backlight.runs.files import read_file, sweep, unwritable
from backlight.runs.lock import lock
from backlight.runs.places import below, refuse_changed_places, refuse_place
from backlight.runs.urls import Place


@runtime_checkable
class Store(Protocol):
    """Files by name below one place: each is there whole, or not at all.

    Attributes:
        begun: Whether a run was begun there, with which one can go on if a file cannot be written;
            None if it is finished.
    """

    begun: bool | None

    @property
    def place(self) -> Place:
        """Where it is."""
        ...

    def refuse(self) -> None:
        """Refuse a place in which nothing can be written; nothing is left behind."""
        ...

    def refuse_changed(self, names: Iterable[str]) -> None:
        """Refuse names that are no longer files; raises a RunDirectoryError."""
        ...

    def make(self) -> None:
        """Make the place, if it is not there."""
        ...

    def hold(self) -> object:
        """Hold the place against other processes while this is kept."""
        ...

    def let_go(self) -> None:
        """Hold it no longer; what ``hold`` wrote, if anything, is deleted."""
        ...

    def sweep(self) -> None:
        """Delete what killed processes left half-written; raises an OSError."""
        ...

    def listed(self) -> list[str]:
        """List what is there, at least one name for every folder; empty if there is no place."""
        ...

    def has(self, name: str) -> bool:
        """Find out whether there is a file of this name."""
        ...

    def present(self, names: Iterable[str]) -> set[str]:
        """Find out which of some files are there."""
        ...

    def is_taken(self, name: str) -> bool:
        """Find out whether there is anything of this name."""
        ...

    def is_own(self, name: str) -> bool:
        """Find out whether a file that is there is no link to another."""
        ...

    def below(self, name: str) -> Place:
        """Return where a file is; raises a RunDirectoryError if the name may mean another place."""
        ...

    def read(self, name: str, *, most: int | None = None) -> bytes:
        """Read a file; raises a RunDirectoryError if it is not there or has more bytes."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file at once, in place of an older one; raises a StorageError."""
        ...

    def add_line(self, name: str, line: str) -> None:
        """Add a line to a text file; raises a StorageError."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file; nothing happens if it is not there."""
        ...

    def remove_folder(self, name: str) -> None:
        """Delete a folder if it is empty, and if there are folders at all."""
        ...


@final
class Disk(Store):
    """A folder of this machine."""

    def __init__(self, place: Path) -> None:
        self._place, self.begun = place, False

    @property
    def place(self) -> Path:
        """See ``Store.place``."""
        return self._place

    def refuse(self) -> None:
        """See ``Store.refuse``."""
        refuse_place(self._place)

    def refuse_changed(self, names: Iterable[str]) -> None:
        """See ``Store.refuse_changed``."""
        refuse_changed_places(self._place, names)

    def make(self) -> None:
        """See ``Store.make``."""
        self._place.mkdir(parents=True, exist_ok=True)

    def hold(self) -> object:
        """See ``Store.hold``."""
        return lock(self._place)

    def let_go(self) -> None:
        """See ``Store.let_go``: a lock goes with who keeps it."""

    def sweep(self) -> None:
        """See ``Store.sweep``."""
        sweep(self._place)

    def listed(self) -> list[str]:
        """See ``Store.listed``."""
        return [each.name for each in self._place.iterdir()] if self._place.is_dir() else []

    def has(self, name: str) -> bool:
        """See ``Store.has``."""
        return (self._place / name).is_file()

    def is_taken(self, name: str) -> bool:
        """See ``Store.is_taken``."""
        return os.path.lexists(self._place / name)

    def is_own(self, name: str) -> bool:
        """See ``Store.is_own``."""
        return not (self._place / name).is_symlink()

    def present(self, names: Iterable[str]) -> set[str]:
        """See ``Store.present``."""
        return {name for name in names if self.has(name)}

    def below(self, name: str) -> Path:
        """See ``Store.below``."""
        return below(self._place, name)

    def read(self, name: str, *, most: int | None = None) -> bytes:
        """See ``Store.read``."""
        return read_file(self._place / name, most=most)

    def write(self, name: str, content: bytes) -> None:
        """See ``Store.write``."""
        path = below(self._place, name)
        try:
            write_whole(path, content)
        except OSError as error:
            raise unwritable(path, error, begun=self.begun) from error

    def add_line(self, name: str, line: str) -> None:
        """See ``Store.add_line``."""
        try:
            with below(self._place, name).open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise unwritable(self._place / name, error, begun=self.begun) from error

    def remove(self, name: str) -> None:
        """See ``Store.remove``."""
        below(self._place, name).unlink(missing_ok=True)

    def remove_folder(self, name: str) -> None:
        """See ``Store.remove_folder``."""
        with suppress(OSError):  # it may not be there, or hold files of somebody else
            (self._place / name).rmdir()
