"""Files of strangers, opened only if they are files and no larger than is sensible."""

import codecs
import os
import stat
import zipfile
from io import BytesIO
from pathlib import Path, PurePath
from typing import IO, BinaryIO

from backlight.errors import BacklightError, quoted

MEGABYTE = 2**20
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_CODES = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ROOMY = 256 * MEGABYTE  # an archive may say that it unpacks to this without being asked more
_RATIO = 20  # and beyond that to so many times its own size: numbers do not pack any better


def expanded(path: str | PurePath, *, error: type[BacklightError]) -> Path:
    """Write out the ``~`` of a path; raises a BacklightError if it is nobody's home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as reason:
        raise error(
            f"{quoted(path)} begins with the home directory of a user who has none here; write "
            "./ in front if that is a name."
        ) from reason


def encoding_of(head: bytes) -> str | None:
    """Read the encoding off the byte order mark at the beginning of a text; None without one."""
    return next((code for mark, code in _CODES if head.startswith(mark)), None)


def kind_of(mode: int) -> str | None:
    """Name what is no regular file, such as ``a pipe``; None for a regular file.

    Args:
        mode: Its ``st_mode``.

    Returns:
        The name.
    """
    kind = stat.S_IFMT(mode)
    return None if kind == stat.S_IFREG else _KINDS.get(kind, "something else")


def check_file(path: Path, *, error: type[BacklightError], most: int | None = None) -> None:
    """Refuse what is no regular file, or is too large, without reading from it.

    A pipe or a device (``/dev/zero``, ``/dev/stdin`` of a terminal) could go on for ever.

    Args:
        path: What a user named as a file.
        error: What is raised.
        most: How many bytes it may have; None for any number.

    Raises:
        BacklightError: If it is not there, is something else than a file, or is too large.
    """
    try:
        _check(path, path.stat(), error, most)
    except (OSError, ValueError) as reason:
        raise _unreadable(path, reason, error) from reason


def open_foreign(path: Path, *, error: type[BacklightError], most: int | None = None) -> BinaryIO:
    """Open a file for reading bytes, if it is a regular file and not too large.

    Args:
        path: What a user named as a file.
        error: What is raised.
        most: How many bytes it may have; None for any number.

    Returns:
        The open file; whoever asked closes it.

    Raises:
        BacklightError: If it is not there, is something else than a file, or is too large.
    """
    check_file(path, error=error, most=most)
    try:
        # It may have become a pipe since: opening must not wait for somebody who writes to it.
        file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    except (OSError, ValueError) as reason:
        raise _unreadable(path, reason, error) from reason
    try:
        _check(path, os.fstat(file.fileno()), error, most)
    except BaseException:
        file.close()
        raise
    return file


def read_bytes(path: Path, *, error: type[BacklightError], most: int) -> bytes:
    """Read all of a file that may have ``most`` bytes; raises as ``open_foreign`` does."""
    with open_foreign(path, error=error, most=most) as file:
        try:
            content = file.read(most + 1)  # it may grow while it is read
        except OSError as reason:
            raise _unreadable(path, reason, error) from reason
    if len(content) > most:
        raise _too_large(path, len(content), most, error)
    return content


def read_text(path: Path, *, error: type[BacklightError], most: int) -> str:
    """Read a text file in UTF-8, or in UTF-16 or UTF-32 if it begins with their mark.

    Args:
        path: The file.
        error: What is raised.
        most: How many bytes it may have.

    Returns:
        Its text without the mark; all line ends are line feeds.

    Raises:
        BacklightError: If it cannot be read, is too large, or is no text.
    """
    return decoded(read_bytes(path, error=error, most=most), path, error=error)


def decoded(content: bytes, path: PurePath, *, error: type[BacklightError]) -> str:
    """Read text as ``read_text`` does, of a file whose content is at hand.

    Args:
        content: The content.
        path: Where it stood, for the message.
        error: What is raised.

    Returns:
        Its text without the mark; all line ends are line feeds.

    Raises:
        BacklightError: If it is no text.
    """
    code = encoding_of(content) or "utf-8"
    try:
        text = content.decode(code)
    except UnicodeDecodeError as reason:
        raise error(
            f"{quoted(path)} cannot be read: it is no text in {code.upper()} (byte {reason.start})."
        ) from reason
    return text.replace("\r\n", "\n").replace("\r", "\n")


def check_archive(
    path: PurePath, file: IO[bytes] | BytesIO, *, error: type[BacklightError]
) -> None:
    """Refuse a zip archive (``.npz``, ``.pt``) that unpacks to very much more than it is.

    The size is what the archive says of its members, and reading one stops there. What is no zip
    archive passes: its reader says so better.

    Args:
        path: Where it was opened, for the message.
        file: The archive, opened; it is left at its beginning.
        error: What is raised.

    Raises:
        BacklightError: If it is a bomb.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        packed = file.seek(0, os.SEEK_END)
    except (OSError, ValueError, LookupError, zipfile.BadZipFile, NotImplementedError):
        return
    finally:
        file.seek(0)
    if unpacked > max(_ROOMY, _RATIO * packed):
        raise error(
            f"{quoted(path)} has {_size(packed)} but would unpack to {_size(unpacked)}: no file of "
            "measured numbers packs like that, so it is not read."
        )


def _check(
    path: Path, found: os.stat_result, error: type[BacklightError], most: int | None
) -> None:
    kind = kind_of(found.st_mode)
    if kind is not None:
        raise error(f"{quoted(path)} is {kind}, not a file; give the path of a file.")
    if most is not None and found.st_size > most:
        raise _too_large(path, found.st_size, most, error)


def _too_large(path: Path, size: int, most: int, error: type[BacklightError]) -> BacklightError:
    return error(
        f"{quoted(path)} has {_size(size)}, but a file of its kind has {_size(most)} at most; is "
        "it the right file?"
    )


def _unreadable(
    path: Path, reason: OSError | ValueError, error: type[BacklightError]
) -> BacklightError:
    if isinstance(reason, (FileNotFoundError, NotADirectoryError)):
        return error(f"There is no file {quoted(path)}.")
    told = reason.strerror if isinstance(reason, OSError) else str(reason)
    return error(f"{quoted(path)} cannot be read: {told}.")


def _size(count: int) -> str:
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if count >= size:
            return (
                f"{count / size:.0f} {unit}" if count >= 10 * size else f"{count / size:.1f} {unit}"
            )
    return f"{count} bytes"
