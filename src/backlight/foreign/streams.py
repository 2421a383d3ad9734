"""Standard output and error, whatever they are: closed, full, gone, or of few letters."""

import codecs
import io
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from backlight.foreign.text import sign

_NAME = "backlight"
_NARROWEST = 20  # columns; in a narrower window, what is laid out for this many is broken
_LIKENESSES = {
    "±": "+-",
    "·": ".",
    "…": "...",
    "×": "x",
    "→": "->",
    "←": "<-",
    "•": "*",
    "«": "<<",
    "»": ">>",
    "²": "2",
    "Σ": "sum ",
    **dict.fromkeys("’‘", "'"),
    **dict.fromkeys("“”", '"'),
    **dict.fromkeys("–—−─━╌┄╴╸╺╶═", "-"),
    **dict.fromkeys("│┃┆║", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰┏┓┗┛┡┩╇╈╪╞╡", "+"),
}


def prepare_streams() -> None:
    """Make sure that printing never fails for a letter, and that the three streams are there.

    A letter that a terminal's encoding does not have (``PYTHONIOENCODING=ascii``) is printed as
    what looks like it, or by its number. A stream that was closed (``>&-``) leads nowhere: else the
    next file that is opened would take its place.
    """
    codecs.register_error(_NAME, _as_known_letters)
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stdout = _nowhere()
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stderr = _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError, ValueError):  # closed, or full: what is printed says so
                stream.reconfigure(errors=_NAME)
    if shutil.get_terminal_size().columns < _NARROWEST:
        os.environ["COLUMNS"] = str(_NARROWEST)


def complain(line: str) -> None:
    """Write a line to standard error, if that takes anything."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def flush() -> None:
    """Write out what was printed; raises an ``OSError`` if nobody takes it."""
    if not sys.stdout.closed:
        sys.stdout.flush()


def let_go(stream: Any) -> None:
    """Lead a stream that takes nothing any more nowhere, so that Python's end is quiet."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


class Unhindered(io.TextIOBase):
    """A stream for progress: what it cannot write is dropped, so that no work stops for it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str, /) -> int:
        """Write, if it can be done."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write out, if it can be done."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        with suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def fileno(self) -> int:
        """Return the stream's number."""
        return self._stream.fileno()


def _nowhere() -> io.TextIOWrapper:
    return Path(os.devnull).open("w", encoding="utf-8")


def _as_known_letters(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    known: Any = "".join(_LIKENESSES.get(letter) or sign(letter) for letter in letters)
    return known, error.end
