"""The first picture of a run, made small."""

import io
import struct
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from backlight.errors import RunDirectoryError
from backlight.runs.places import below
from backlight.surveys import SURVEYS

_SIZE = (240, 150)
_COLOURS = 64
_LARGEST = 16 * 2**20  # bytes of a picture
_MOST_PIXELS = 50_000_000
_HEAD = struct.Struct(">16xII")  # where a PNG says how wide and high it is


def thumbnail(path: Path, names: Collection[str], command: str) -> bytes:
    """Make the picture of a run that says most small, or else its first.

    Args:
        path: The run directory.
        names: The run's own files.
        command: What it is a run of.

    Returns:
        A PNG; empty if there is no picture, it cannot be read, or Pillow is not there.
    """
    pictures = sorted(name for name in names if name.endswith(".png"))
    if not pictures:
        return b""
    best = PurePosixPath(SURVEYS[command].picture if command in SURVEYS else "*")
    pattern = str(best.with_suffix(".png"))
    chosen = next((name for name in pictures if fnmatchcase(name, pattern)), pictures[0])
    try:
        file = below(path, chosen)
        return _small(file) if file.is_file() else b""
    except (RunDirectoryError, OSError):  # a link, or no permission
        return b""


def _small(file: Path) -> bytes:
    try:
        from PIL import Image  # it comes with matplotlib
    except ImportError:
        return b""
    with file.open("rb") as opened:
        content = opened.read(_LARGEST + 1)
    if not _HEAD.size < len(content) <= _LARGEST:
        return b""
    width, height = _HEAD.unpack_from(content)
    if width * height > _MOST_PIXELS:
        return b""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            picture.thumbnail(_SIZE, reducing_gap=2.0)
            made = picture.convert("RGB").quantize(_COLOURS)
    except (OSError, ValueError, SyntaxError):  # as Pillow calls what is damaged
        return b""
    small = io.BytesIO()
    made.save(small, "PNG", optimize=True)
    return small.getvalue()
