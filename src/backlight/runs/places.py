"""Where a directory of results can be made: asked before anything is computed."""

import stat
import tempfile
from pathlib import Path

from backlight.errors import RunDirectoryError, quoted


def refuse_place(path: Path, *, what: str = "results") -> None:
    """Refuse a path at which no directory can be made or written; nothing is left behind.

    Args:
        path: Where a directory is to be made, or is.
        what: What it is for.

    Raises:
        RunDirectoryError: If there is a file in the way, a link to nothing, no permission to
            write, or the path cannot be one.
    """
    if any(not character.isprintable() for character in str(path)):
        raise RunDirectoryError(
            f"{quoted(path)} has characters that cannot be printed; name another directory."
        )
    existing = _nearest(path.absolute(), path, what)
    try:
        with tempfile.TemporaryFile(dir=existing):  # on Linux it never has a name
            pass
    except OSError as error:
        raise RunDirectoryError(
            f"{quoted(path)} cannot be a directory for {what}: nothing can be written in "
            f"{quoted(existing)} ({error.strerror}); name another --output_dir."
        ) from error


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
