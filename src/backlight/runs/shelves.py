"""Where the states of shards lie: in a folder of the run directory, or in memory."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, final, runtime_checkable

from backlight.runs.files import read_file, write_file
from backlight.runs.places import below


@runtime_checkable
class Shelf(Protocol):
    """Whole files by name: one is there or not, never half."""

    def names(self) -> set[str]:
        """List what is there."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Write a file at once, in place of an older one."""
        ...

    def read(self, name: str) -> bytes:
        """Read a file that is there."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file; nothing happens if it is not there."""
        ...

    def place(self, name: str) -> Path:
        """Return where a file is, for messages."""
        ...


@final
class Folder(Shelf):
    """Files of a run directory, out of a fixed list of names: no other is read or deleted."""

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        """Hold what is a state there.

        Args:
            root: The run directory.
            names: Every name that a state can have.
        """
        self._root, self._known = root, frozenset(names)

    def names(self) -> set[str]:
        """See ``Shelf.names``."""
        return {name for name in self._known if below(self._root, name).is_file()}

    def put(self, name: str, content: bytes) -> None:
        """See ``Shelf.put``; raises a StorageError if there is no room."""
        assert name in self._known, name
        write_file(below(self._root, name), content)

    def read(self, name: str) -> bytes:
        """See ``Shelf.read``."""
        return read_file(below(self._root, name))

    def remove(self, name: str) -> None:
        """See ``Shelf.remove``."""
        below(self._root, name).unlink(missing_ok=True)

    def place(self, name: str) -> Path:
        """See ``Shelf.place``."""
        return self._root / name


@final
class Memory(Shelf):
    """States of a run that is written nowhere."""

    def __init__(self) -> None:
        """Start with nothing there."""
        self._files: dict[str, bytes] = {}

    def names(self) -> set[str]:
        """See ``Shelf.names``."""
        return set(self._files)

    def put(self, name: str, content: bytes) -> None:
        """See ``Shelf.put``."""
        self._files[name] = content

    def read(self, name: str) -> bytes:
        """See ``Shelf.read``."""
        return self._files[name]

    def remove(self, name: str) -> None:
        """See ``Shelf.remove``."""
        self._files.pop(name, None)

    def place(self, name: str) -> Path:
        """See ``Shelf.place``."""
        return Path(name)
