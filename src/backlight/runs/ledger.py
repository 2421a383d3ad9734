"""Which files of a directory are a run's own: no other file is ever written over or deleted.

While a run is going on, its journal (``.written``) lists them, each before it is written; of a
finished run the manifest does, each with its SHA-256, and the journal is gone.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

from backlight.atomic import is_scratch
from backlight.errors import RunDirectoryError, quoted
from backlight.foreign.documents import read_json
from backlight.runs.files import read_file, unwritable, write_file
from backlight.runs.places import below, fault_of, refuse_changed_places

MANIFEST = "manifest.json"
"""All files of a finished run, each with its SHA-256; written last."""

_JOURNAL = ".written"
_TITLE = "# What this run of backlight has written so far; a name is added before its file."
_logger = logging.getLogger(__name__)


@final
class Ledger:
    """The files of one run. What it reads from disk it keeps until ``forget``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: set[str] | None = None
        self._manifest: dict[str, Any] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether there is a manifest."""
        return (self._root / MANIFEST).is_file()

    def manifest(self) -> dict[str, Any]:
        """Read what a finished run says of itself; raises a RunDirectoryError if it is damaged."""
        if self._manifest is None:
            self._manifest = _read_manifest(self._root)
        return self._manifest

    def names(self) -> set[str]:
        """List the files that the run has written, or was about to."""
        if self._names is None:
            names = _read_journal(self._root)
            if self.is_finished:
                try:
                    names |= {*map(str, self.manifest()["files"]), MANIFEST}
                except RunDirectoryError:
                    _logger.debug("The manifest in %s says nothing of its files.", self._root)
            self._names = {name for name in names if fault_of(name) is None}  # else not written
        return self._names

    def begin(self, names: Iterable[str]) -> None:
        """Write the journal anew, whole or not at all."""
        names = set(names)
        lines = "".join(f"{line}\n" for line in (_TITLE, *sorted(names)))
        write_file(below(self._root, _JOURNAL), lines.encode())
        self._names, self._manifest = names, None

    def note(self, name: str) -> None:
        """List a file before it is written; raises a StorageError if there is no room."""
        # A process that is killed between the two leaves a name without a file, which harms
        # nothing. The other way round, the next one would take the file for somebody else's.
        if not (self._root / _JOURNAL).is_file():
            self.begin({name, *self.names()})
            return
        try:
            with below(self._root, _JOURNAL).open("a", encoding="utf-8") as journal:
                journal.write(f"{name}\n")
        except OSError as error:
            raise unwritable(self._root / name, error) from error
        self.names().add(name)

    def close(self) -> None:
        """Delete the journal, whose place the manifest has taken."""
        below(self._root, _JOURNAL).unlink(missing_ok=True)
        self._manifest = None

    def forget(self) -> None:
        """Read again from disk what is asked for next."""
        self._names = self._manifest = None

    def refuse_changed_places(self) -> None:
        """Refuse names that no longer are the run's files; raises a RunDirectoryError."""
        refuse_changed_places(self._root, self.names() | {_JOURNAL})


def is_blank(root: Path) -> bool:
    """Whether a directory holds nothing, but for what runs left that were killed as they began."""
    return all(
        is_scratch(each.name) or (each.name == _JOURNAL and bool(_read_journal(root)))
        for each in root.iterdir()
    )


def _read_journal(root: Path) -> set[str]:
    """List what a journal lists; nothing if there is none, or it is not backlight's.

    Args:
        root: A directory.

    Returns:
        Names, none of which can lie outside. A last line that was cut is left out: its file was not
        yet begun.
    """
    path = root / _JOURNAL
    if path.is_symlink() or not path.is_file():
        return set()
    title, *names = read_file(path).decode(errors="replace").split("\n")[:-1] or [""]
    return {name for name in names if title == _TITLE and fault_of(name) is None}


def _read_manifest(root: Path) -> dict[str, Any]:
    try:
        found = read_json(root / MANIFEST, error=RunDirectoryError)
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
