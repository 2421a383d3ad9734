"""The text of a log, whatever its encoding and compression, in bounded memory."""

import gzip
import io
import os
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backlight.errors import RunDirectoryError, quoted
from backlight.foreign.files import encoding_of, kind_of

LONGEST = 4_000_000
"""The most characters of one line or one JSON value."""

_CHUNK = 1 << 18
_HEAD = 4096
_GZIP = b"\x1f\x8b"
_FREE, _RATIO = 5_000_000, 100  # bytes, above which a log cannot shrink to so small a part
_BINARIES = (
    (b"PK\x03\x04", "a zip archive (such as a model file or a workbook)"),
    ((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), "a pickle, which is never opened"),
    (b"\xfd7zXZ", "compressed with xz; unpack it first"),
    (b"BZh", "compressed with bzip2; unpack it first"),
    (b"(\xb5/\xfd", "compressed with zstd; unpack it first"),
    (b":W&B", "a file of Weights & Biases in a format of its own; export the run's history as CSV"),
    (b"PAR1", "a Parquet file; write it as CSV"),
    (b"\x93NUMPY", "an array of numpy"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "a database; write its table as CSV"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
)


class Text:
    """The characters of a log, read piece by piece.

    Line ends of all kinds are one newline, zero bytes (which a crash leaves) are dropped, and bytes
    that are no text become replacement characters: what matters in a log is plain ASCII.

    Attributes:
        path: The file.
        unended: The last line that was given has no end: it may be half a line.
    """

    def __init__(self, path: Path, stream: io.TextIOBase) -> None:
        self.path = path
        self.unended = False
        self._stream = stream
        self._ahead = ""

    def beginning(self) -> str:
        """Look at the first line and maybe some more, which is read again afterwards."""
        while "\n" not in self._ahead and len(self._ahead) <= LONGEST:
            piece = self._read()
            if not piece:
                break
            self._ahead += piece
        return self._ahead

    def read(self) -> str:
        """Read on; empty at the end."""
        ahead, self._ahead = self._ahead, ""
        return ahead or self._read()

    def _read(self) -> str:
        """Read a piece of the file; empty at its end.

        Returns:
            Some characters.

        Raises:
            RunDirectoryError: If the file cannot be read on.
        """
        try:
            while piece := self._stream.read(_CHUNK):
                if kept := piece.replace("\x00", ""):
                    return kept
        except (OSError, zlib.error) as error:
            raise RunDirectoryError(
                f"{quoted(self.path)} cannot be read to its end: {reason(error)}."
            ) from error
        return ""

    def lines(self) -> Iterator[tuple[int, str]]:
        """Read the lines that are not empty.

        Yields:
            The number of each, from 1, and the line without its end.

        Raises:
            RunDirectoryError: If a line is too long for a log.
        """
        number, rest = 0, ""
        while piece := self.read():
            parts = (rest + piece).split("\n")
            rest = parts.pop()
            if len(rest) > LONGEST or max(map(len, parts), default=0) > LONGEST:
                raise RunDirectoryError(
                    f"{quoted(self.path)} is no log of steps: it has a line of more than "
                    f"{LONGEST:,} characters (near line {number + len(parts) + 1})."
                )
            for place, line in enumerate(parts, start=number + 1):
                if line:
                    yield place, line
            number += len(parts)
        if rest:
            self.unended = True
            yield number + 1, rest


@contextmanager
def opened(path: Path) -> Generator[Text, None, None]:
    """Open a log for reading as text.

    Args:
        path: A file, maybe compressed with gzip; in UTF-8, or in UTF-16 or UTF-32 with a mark.

    Yields:
        Its text.

    Raises:
        RunDirectoryError: If there is no such file, or it is no text.
    """
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to never returns.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{quoted(path)} cannot be read: {reason(error)}.") from error
    with os.fdopen(descriptor, "rb") as file:
        kind = kind_of(os.fstat(file.fileno()).st_mode)
        if kind is not None:
            raise RunDirectoryError(f"{quoted(path)} is {kind}, not a file with a log.")
        yield Text(path, _decoded(path, _unpacked(path, file)))


def head_of(path: Path) -> bytes:
    """Read the first bytes of a file, unless it is a pipe or a device; empty if it has none."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(_HEAD)
    except (OSError, ValueError):  # opening it says what is wrong
        return b""


def _unpacked(path: Path, file: io.BufferedReader) -> io.BufferedReader:
    packed = file.peek(len(_GZIP)).startswith(_GZIP)
    return io.BufferedReader(_Unpacked(path, file)) if packed else file


class _Unpacked(io.RawIOBase):
    """What comes out of a gzip file, as long as it is not absurdly more than went in."""

    def __init__(self, path: Path, file: io.BufferedReader) -> None:
        super().__init__()
        self._path = path
        self._most = max(_FREE, _RATIO * os.fstat(file.fileno()).st_size)
        self._count = 0
        self._stream = gzip.GzipFile(fileobj=file)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        with memoryview(buffer) as view:
            try:
                piece = self._stream.read1(len(view))
            except EOFError:  # it is cut off, as while a log is being written
                return 0
            view[: len(piece)] = piece
        self._count += len(piece)
        if self._count > self._most:
            raise RunDirectoryError(
                f"{quoted(self._path)} is no log: it unpacks to more than {self._most:,} bytes, "
                f"over {_RATIO} times its size. Unpack it first if it is meant."
            )
        return len(piece)


def _decoded(path: Path, raw: io.BufferedReader) -> io.TextIOWrapper:
    try:
        head = raw.peek(_HEAD)[:_HEAD]
    except (OSError, zlib.error) as error:
        raise RunDirectoryError(f"{quoted(path)} cannot be read: {reason(error)}.") from error
    name = next((name for magic, name in _BINARIES if head.startswith(magic)), None)
    encoding = encoding_of(head) or _unmarked(head)
    if name is None and encoding == "utf-8" and _is_binary(head):
        name = "a binary file, not text"
    if name is not None:
        raise RunDirectoryError(f"{quoted(path)} is no log that can be read: it is {name}.")
    return io.TextIOWrapper(raw, encoding=encoding, errors="replace", newline=None)


def _unmarked(head: bytes) -> str:
    """Recognise UTF-16 without a mark by the zero byte of every second character."""
    pairs = len(head) // 2
    if pairs >= 8:
        for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            zeros = head[start : 2 * pairs : 2].count(0)
            others = head[1 - start : 2 * pairs : 2].count(0)
            if zeros > 0.9 * pairs and not others:
                return encoding
    return "utf-8"


def _is_binary(head: bytes) -> bool:
    """Check whether there is nothing but zeros, or many of the characters that no text has."""
    rest = head.replace(b"\x00", b"")
    controls = sum(byte < 32 and byte not in b"\t\n\r\x0b\x0c\x1b\x08" for byte in rest)
    return controls > len(rest) // 10 or (not rest and len(head) > 0)


def reason(error: Exception) -> str:
    """Return in a few words why something cannot be read."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)[:200]
