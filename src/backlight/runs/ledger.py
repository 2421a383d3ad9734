"""Which files of a directory are a run's own: no other file is ever written over or deleted.

While a run is going on, its journal (``.written``) lists them, each before it is written; of a
finished run the manifest does, each with its SHA-256, and the journal is gone.
"""

import logging
from collections.abc import Iterable
from typing import Any, final

from backlight.atomic import is_scratch
from backlight.errors import RunDirectoryError, quoted
from backlight.foreign.documents import parse_json
from backlight.foreign.files import MEGABYTE, decoded
from backlight.runs.places import fault_of
from backlight.runs.stores import Store

MANIFEST = "manifest.json"
"""All files of a finished run, each with its SHA-256; written last."""

_JOURNAL = ".written"
_TITLE = "# What this run of backlight has written so far; a name is added before its file."
_MOST = 64 * MEGABYTE
_logger = logging.getLogger(__name__)


@final
class Ledger:
    """The files of one run. What it reads from disk it keeps until ``forget``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: set[str] | None = None
        self._manifest: dict[str, Any] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether there is a manifest."""
        return self._store.has(MANIFEST)

    def manifest(self) -> dict[str, Any]:
        """Read what a finished run says of itself; raises a RunDirectoryError if it is damaged."""
        if self._manifest is None:
            self._manifest = _read_manifest(self._store)
        return self._manifest

    def names(self) -> set[str]:
        """List the files that the run has written, or was about to."""
        if self._names is None:
            names = _read_journal(self._store)
            if self.is_finished:
                try:
                    names |= {*map(str, self.manifest()["files"]), MANIFEST}
                except RunDirectoryError:
                    _logger.debug(
                        "The manifest in %s says nothing of its files.", self._store.place
                    )
            self._names = {name for name in names if fault_of(name) is None}  # else not written
        return self._names

    def begin(self, names: Iterable[str]) -> None:
        """Write the journal anew, whole or not at all."""
        names = set(names)
        lines = "".join(f"{line}\n" for line in (_TITLE, *sorted(names)))
        self._store.write(_JOURNAL, lines.encode())
        self._names, self._manifest = names, None

    def note(self, name: str) -> None:
        """List a file before it is written; raises a StorageError if there is no room."""
        # A process that is killed between the two leaves a name without a file, which harms
        # nothing. The other way round, the next one would take the file for somebody else's.
        if not self._store.has(_JOURNAL):
            self.begin({name, *self.names()})
            return
        self._store.add_line(_JOURNAL, name)
        self.names().add(name)

    def close(self) -> None:
        """Delete the journal, whose place the manifest has taken."""
        self._store.remove(_JOURNAL)
        self._manifest = None

    def forget(self) -> None:
        """Read again from disk what is asked for next."""
        self._names = self._manifest = None

    def refuse_changed_places(self) -> None:
        """Refuse names that no longer are the run's files; raises a RunDirectoryError."""
        self._store.refuse_changed(self.names() | {_JOURNAL})


def is_blank(store: Store) -> bool:
    """Whether a place holds nothing, but for what runs left that were killed as they began."""
    return all(
        is_scratch(each) or (each == _JOURNAL and bool(_read_journal(store)))
        for each in store.listed()
    )


def _read_journal(store: Store) -> set[str]:
    """List what a journal lists; nothing if there is none, or it is not backlight's.

    Args:
        store: Where a run may be.

    Returns:
        Names, none of which can lie outside. A last line that was cut is left out: its file was not
        yet begun.
    """
    if not store.has(_JOURNAL) or not store.is_own(_JOURNAL):
        return set()
    title, *names = store.read(_JOURNAL).decode(errors="replace").split("\n")[:-1] or [""]
    return {name for name in names if title == _TITLE and fault_of(name) is None}


def _read_manifest(store: Store) -> dict[str, Any]:
    root = store.place
    try:
        content = store.read(MANIFEST, most=_MOST)
        text = decoded(content, root / MANIFEST, error=RunDirectoryError)
        found = parse_json(text, quoted(root / MANIFEST), error=RunDirectoryError)
    except RunDirectoryError as error:
        raise RunDirectoryError(
            f"{quoted(root)} holds no finished run: its {MANIFEST} cannot be read."
        ) from error
    digests = found.get("sha256") if isinstance(found, dict) else None
    files = found.get("files") if isinstance(found, dict) else None
    if not isinstance(digests, dict) or not isinstance(files, list) or set(digests) != {*files}:
        raise RunDirectoryError(
            f"{quoted(root)} holds no finished run: its {MANIFEST} does not list "
            "each file with its SHA-256, so it was damaged, or not written by this backlight."
        )
    return found
