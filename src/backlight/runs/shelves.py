"""Where the states of shards lie: in a folder of the run directory, or in memory."""

from collections.abc import Iterable
from pathlib import PurePath
from typing import Protocol, final, runtime_checkable

from backlight.runs.stores import Store


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

    def place(self, name: str) -> PurePath:
        """Return where a file is, for messages."""
        ...


@final
class Folder(Shelf):
    """Files of a run directory, out of a fixed list of names: no other is read or deleted."""

    def __init__(self, store: Store, names: Iterable[str]) -> None:
        """Hold what is a state there.

        Args:
            store: The files of the run.
            names: Every name that a state can have.
        """
        self._store, self._known = store, frozenset(names)

    def names(self) -> set[str]:
        """See ``Shelf.names``."""
        for name in self._known:
            self._store.below(name)
        return self._store.present(self._known)

    def put(self, name: str, content: bytes) -> None:
        """See ``Shelf.put``; raises a StorageError if there is no room."""
        assert name in self._known, name
        self._store.write(name, content)

    def read(self, name: str) -> bytes:
        """See ``Shelf.read``."""
        self._store.below(name)
        return self._store.read(name)

    def remove(self, name: str) -> None:
        """See ``Shelf.remove``."""
        self._store.remove(name)

    def place(self, name: str) -> PurePath:
        """See ``Shelf.place``."""
        return self._store.place / name


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

    def place(self, name: str) -> PurePath:
        """See ``Shelf.place``."""
        return PurePath(name)
