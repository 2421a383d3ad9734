"""Text files as lines, whatever their byte order mark and their line ends."""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from backlight.errors import DatasetError, quoted
from backlight.foreign.files import encoding_of, open_foreign

LONGEST = 2**27
"""The most characters that a line, or a document that is read in one piece, may have."""

_CHUNK = 2**20
_MARK = "\ufeff"
_SHIFT = re.compile("\x1b\\$[()]?[@-F]")  # where double bytes begin in ISO-2022
_OTHERS = (
    (b"\x1f\x8b", "packed with gzip; let its name end in .gz"),
    (b"PAR1", "a parquet file; let its name end in .parquet"),
    (b"PK\x03\x04", "a zip archive; unpack it"),
    (b"BZh", "packed with bzip2; unpack it"),
    (b"\xfd7zXZ\x00", "packed with xz; unpack it"),
    (b"\x28\xb5\x2f\xfd", "packed with zstandard; unpack it"),
    (b"%PDF-", "a PDF; save its text"),
    (b"ARROW1\x00\x00", "an Arrow file; save it as .parquet"),
)


def read_lines(path: Path) -> Iterator[str]:
    """Read a text file line by line.

    The text is UTF-8, or what its byte order mark says: UTF-16 or UTF-32. A mark is no part of a
    line, also where files were joined. Lines end in a line feed, as in Unix, in carriage return
    and line feed, as in Windows, in a carriage return, as in old Macs, or in all of these.

    Args:
        path: The file; one whose name ends in ``.gz`` is unpacked.

    Returns:
        The lines without their ends, one after another.

    Raises:
        DatasetError: If it cannot be read, is in another encoding or no text at all, or has a line
            of more than 2^27 characters.
    """
    return split_lines(text_chunks(path), path)


def read_whole(path: Path) -> str:
    """Read a text file in one piece; its line ends become line feeds.

    Args:
        path: The file.

    Returns:
        The text, without a byte order mark.

    Raises:
        DatasetError: As ``read_lines``, and if it has more than 2^27 characters.
    """
    found: list[str] = []
    size = 0
    for chunk in text_chunks(path):
        found.append(chunk)
        size += len(chunk)
        if size > LONGEST:
            raise DatasetError(
                f"{quoted(path)} has more than {LONGEST:,} characters, which is too much to read "
                "in one piece; cut it, or write JSON lines (.jsonl) instead of an array."
            )
    return "".join(found).lstrip(_MARK)


def split_lines(chunks: Iterable[str], path: Path) -> Iterator[str]:
    """Cut text that comes in pieces into lines.

    Args:
        chunks: The text; its lines end in line feeds.
        path: Where it comes from.

    Yields:
        Each line without its end, and without byte order marks that stand before it.

    Raises:
        DatasetError: If a line is too long.
    """
    held: list[str] = []
    size, number = 0, 1
    for chunk in chunks:
        *whole, rest = chunk.split("\n")
        for line in whole:
            yield "".join([*held, line]).lstrip(_MARK)
            held, size, number = [], 0, number + 1
        held.append(rest)
        size += len(rest)
        if size > LONGEST:
            raise DatasetError(
                f"Line {number} of {quoted(path)} has more than {LONGEST:,} characters; is it a "
                "text with lines?"
            )
    if size:
        yield "".join(held).lstrip(_MARK)


def text_chunks(path: Path) -> Iterator[str]:
    """Read a text file piece by piece; all line ends become line feeds.

    Args:
        path: The file; one whose name ends in ``.gz`` is unpacked.

    Yields:
        The text, some of it at a time.

    Raises:
        DatasetError: If it cannot be read, is in another encoding, or is no text.
    """
    ends = io.IncrementalNewlineDecoder(None, translate=True)
    decoder: codecs.IncrementalDecoder | None = None
    num_bytes, is_bytewise = 0, False
    for raw in _raw_chunks(path):
        if decoder is None:
            name = _encoding_of(raw, path)
            decoder, is_bytewise = codecs.getincrementaldecoder(name)("strict"), "utf-8" in name
        num_bytes += len(raw)
        # Text in UTF-16 without a mark is mostly valid UTF-8, with a NUL beside each letter.
        if is_bytewise and b"\0" in raw:
            raise _no_text(path, raw, num_bytes)
        text = _decoded(decoder, raw, num_bytes, path)
        if "\0" in text:
            raise _no_text(path, raw, num_bytes)
        if _SHIFT.search(text):
            raise DatasetError(
                f"{quoted(path)} is text in ISO-2022 (a Japanese, Korean or Chinese encoding of "
                "7 bits), not UTF-8; convert it first: iconv -f ISO-2022-JP -t UTF-8 OLD > NEW"
            )
        yield ends.decode(text, final=not raw)


def _raw_chunks(path: Path) -> Iterator[bytes]:
    """Read the bytes of a file in pieces; the last piece is empty."""
    is_packed = path.name.lower().endswith(".gz")
    with open_foreign(path, error=DatasetError) as file:
        opened = gzip.GzipFile(fileobj=file) if is_packed else file
        try:
            while raw := opened.read(_CHUNK):
                yield raw
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DatasetError(f"{quoted(path)} is not a whole gzip file: {error}.") from error
        except OSError as error:
            raise DatasetError(f"{quoted(path)} cannot be read: {error.strerror}.") from error
    yield b""


def _encoding_of(first: bytes, path: Path) -> str:
    for magic, what in _OTHERS:
        if first.startswith(magic):
            raise DatasetError(f"{quoted(path)} is no text but {what}.")
    return encoding_of(first) or "utf-8"


def _decoded(decoder: codecs.IncrementalDecoder, raw: bytes, num_bytes: int, path: Path) -> str:
    try:
        return decoder.decode(raw, final=not raw)
    except UnicodeDecodeError as error:
        # Bytes that were left over from the piece before stand at the beginning of this one.
        place = num_bytes - len(error.object) + error.start
        name = error.encoding.upper().replace("_", "-")
        how = (
            "if it was cut off, mend it; if it is in another encoding, convert it first: iconv -f "
            "ENCODING -t UTF-8 OLD > NEW (ENCODING is WINDOWS-1252, GB18030, SHIFT_JIS, ...)"
        )
        raise DatasetError(
            f"{quoted(path)} is not {name} text (byte {place}, 0x{error.object[error.start]:02X}: "
            f"{error.reason}); {how}"
        ) from error


def _no_text(path: Path, raw: bytes, num_bytes: int) -> DatasetError:
    place = num_bytes - len(raw) + max(raw.find(b"\0"), 0)
    return DatasetError(
        f"{quoted(path)} is no text in UTF-8: there is a NUL at byte {place}. If it is UTF-16 "
        "without a byte order mark, convert it first: iconv -f UTF-16LE -t UTF-8 OLD > NEW"
    )
