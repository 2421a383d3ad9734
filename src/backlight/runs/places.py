"""Where a run may write: in a directory that can be made, under names that stay in it."""

import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePath, PurePosixPath

from backlight.errors import RunDirectoryError, quoted
from backlight.runs.urls import is_url

_BLOCK = 4096  # bytes; a full disk still takes an empty file
_LONGEST_PART, _LONGEST = 200, 1000  # bytes, within what every file system takes


def refuse_place(path: Path, *, what: str = "results") -> None:
    """Refuse a path at which no directory can be made or written; nothing is left behind.

    Args:
        path: Where a directory is to be made, or is.
        what: What it is for.

    Raises:
        RunDirectoryError: If there is a file in the way, a link to nothing, no permission to
            write, or the path cannot be one.
    """
    refuse_url(path)
    if any(not character.isprintable() for character in str(path)):
        raise RunDirectoryError(
            f"{quoted(path)} has characters that cannot be printed; name another directory."
        )
    existing = _nearest(path.absolute(), path, what)
    try:
        with tempfile.TemporaryFile(dir=existing) as file:  # on Linux it never has a name
            file.write(bytes(_BLOCK))
    except OSError as error:
        raise RunDirectoryError(
            f"{quoted(path)} cannot be a directory for {what}: nothing can be written in "
            f"{quoted(existing)} ({error.strerror}); name another --output_dir."
        ) from error


def refuse_url(path: PurePath) -> None:
    """Refuse a place on another file system, for what writes only to folders of this machine.

    Args:
        path: Where something is to be written.

    Raises:
        RunDirectoryError: If it is a URL.
    """
    if is_url(path):
        raise RunDirectoryError(
            f"{quoted(path.as_posix())} is no folder of this machine: only surveys and experiments "
            "write their runs to other file systems."
        )


def _nearest(place: Path, path: Path, what: str) -> Path:
    """Find the directory in which others would be made."""
    for each in (place, *place.parents):
        try:
            status = each.stat()
        except (FileNotFoundError, NotADirectoryError):
            if each.is_symlink():
                raise RunDirectoryError(
                    f"{quoted(each)} is a symbolic link to nothing; name another --output_dir."
                ) from None
            continue
        except OSError as error:
            raise RunDirectoryError(
                f"{quoted(path)} cannot be a directory for {what}: {error.strerror}; name "
                "another --output_dir."
            ) from error
        if not stat.S_ISDIR(status.st_mode):
            raise RunDirectoryError(
                f"{quoted(str(each if each != place else path))} is a file, not a directory for "
                f"{what}; name another --output_dir."
            )
        return each
    raise AssertionError("a path with no root")


def fault_of(name: str) -> str | None:
    """Find out why a name may mean something outside of the directory, on any system.

    Args:
        name: A relative path with forward slashes, such as ``tables/layers.csv``.

    Returns:
        The reason, None if the name is a plain one.
    """
    parts = name.split("/")
    if any(not character.isprintable() for character in name):
        return "it has characters that cannot be printed"  # NUL, escapes, lone surrogates
    if "\\" in name or ":" in name:
        return "it has a backslash or a colon, which mean other places on some systems"
    if name.startswith(("/", "~")):
        return "it is absolute"
    if any(part in ("", ".", "..") for part in parts):
        return "it has an empty part, '.' or '..'"
    longest = max(len(part.encode()) for part in parts)
    if longest > _LONGEST_PART or len(name.encode()) > _LONGEST:
        return "it is too long"
    return None


def below(root: Path, name: str) -> Path:
    """Return the path of a file that is to be written or deleted, if it is below a directory.

    Args:
        root: The directory; it may itself be reached through a link.
        name: The file's name in it. It may come from anywhere.

    Returns:
        The path; nothing on the way from ``root`` to it is a symbolic link, nor is it one itself.

    Raises:
        RunDirectoryError: If the name may mean something else.
    """
    fault = fault_of(name)
    if fault is not None:
        raise RunDirectoryError(
            f"{quoted(name)} cannot be the name of a file in {quoted(root)}: {fault}."
        )
    path = root
    for part in PurePosixPath(name).parts:
        path /= part
        if Path(path).is_symlink():
            raise RunDirectoryError(
                f"{quoted(path)} is a symbolic link, which backlight did not make; it writes "
                "and deletes nothing through links. Move it away, or name another directory."
            )
    return path


def refuse_changed_places(root: Path, names: Iterable[str]) -> None:
    """Refuse names that no longer are the files that were written under them.

    Args:
        root: A run directory.
        names: Files that a run has written there, or was about to.

    Raises:
        RunDirectoryError: If one is a directory or a device now, or lies behind a link.
    """
    for name in sorted(names):
        path = below(root, name)
        try:
            kind = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISREG(kind):
            raise RunDirectoryError(
                f"{quoted(path)} is no longer the file that the run wrote, but a "
                "directory or device; move it away, or name another --output_dir."
            )
