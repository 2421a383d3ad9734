"""What an unfinished run has written so far: a name is added before its file is."""

from collections.abc import Iterable
from pathlib import Path

from backlight.runs.files import read_file, unwritable, write_file
from backlight.runs.names import below, fault_of

JOURNAL = ".written"
"""The file's name in the run directory; it is deleted when the manifest takes its place."""

_TITLE = "# What this run of backlight has written so far; a name is added before its file."


def begin_journal(root: Path, names: Iterable[str]) -> None:
    """Write the journal of a run anew, whole or not at all.

    Args:
        root: The run directory.
        names: The files that are its own.
    """
    lines = "".join(f"{line}\n" for line in (_TITLE, *sorted(names)))
    write_file(below(root, JOURNAL), lines.encode())


def add_to_journal(root: Path, name: str) -> None:
    """Add a file to the journal of a run, which must have one.

    Args:
        root: The run directory.
        name: The file that is about to be written.

    Raises:
        StorageError: If there is no room.
    """
    try:
        with below(root, JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(f"{name}\n")
    except OSError as error:
        raise unwritable(root / name, error) from error


def read_journal(root: Path) -> set[str]:
    """List the files that a run was about to write, or has written.

    Args:
        root: A directory.

    Returns:
        Their names, none of which can lie outside; nothing if there is no journal of backlight.
        A last line that was cut is left out: its file was not yet begun.
    """
    path = root / JOURNAL
    if path.is_symlink() or not path.is_file():
        return set()
    title, *names = read_file(path).decode(errors="replace").split("\n")[:-1] or [""]
    return {name for name in names if title == _TITLE and fault_of(name) is None}
