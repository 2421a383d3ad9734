"""Foreign text made plain: what a token, a name or a file says never steers what shows it.

All text of strangers (tokens, names, options, metadata, messages of libraries) passes ``plain`` on
its way to a terminal, a page, a figure or an error: by the console of the commands, by the log, by
``page`` and by what renders figures. What is left are letters that can be seen.
"""

import re
import unicodedata
from functools import cache
from html import escape

from backlight.errors import shorten

_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # called letters or signs, but there is nothing to see
_MARKS = re.compile(r"[\\`*\[\]|]")
_LONGEST = 200
_MOST_MARKS = 4  # accents on one letter; no script needs more, and a heap of them hides other lines


def plain(text: object, *, lines: bool = False) -> str:
    r"""Write a text so that it is only read: it cannot steer a terminal, nor hide or turn itself.

    Control codes (escape sequences, NUL, line breaks), marks of direction, letters without width,
    halves of letters (lone surrogates) and heaps of accents are written by their numbers, such as
    ``\x1b`` or ``\u202e``. All other text stays as it is, in every script.

    Args:
        text: The text, or what is turned into text.
        lines: Keep line breaks; else they are written ``\n``.

    Returns:
        The text.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for letter in text:
        marks = marks + 1 if _is_mark(letter) else 0
        kept = (lines and letter == "\n") or (marks <= _MOST_MARKS and _is_seen(letter))
        shown.append(letter if kept else sign(letter))
    return "".join(shown)


def visible(text: str, *, blanks: bool = True) -> str:
    r"""Write a text so that all of it can be seen.

    Args:
        text: The text, such as that of a token.
        blanks: Show a blank as ``·``.

    Returns:
        The text; line breaks are written ``\n``, and other letters that cannot be seen by their
        number, such as ``\xa0``.
    """
    seen = "".join(
        letter if letter.isprintable() and plain(letter) == letter else sign(letter)
        for letter in text
    )
    return seen.replace(" ", "·") if blanks else seen


def brief(text: object) -> str:
    """Write a name within a sentence: plain, and without the middle of what is too long."""
    return shorten(plain(text), _LONGEST)


def html(text: object) -> str:
    """Write a text for a page: plain, and its markup is only read."""
    return escape(plain(text, lines=True))


def markdown(text: object) -> str:
    """Write a text for a page of Markdown: plain, without links, markup or code."""
    return _MARKS.sub(r"\\\g<0>", plain(text)).replace("<", "&lt;")


def sign(letter: str) -> str:
    r"""Write a letter by its number, such as ``\x1b`` or ``\u202e``; a line break as ``\n``."""
    number = ord(letter)
    if number > 0xFFFF:
        return f"\\U{number:08x}"
    return _SHORT.get(letter) or (f"\\x{number:02x}" if number <= 0xFF else f"\\u{number:04x}")


@cache
def _is_seen(letter: str) -> bool:
    blank = unicodedata.category(letter) == "Zs"
    return (letter.isprintable() or blank) and letter not in _FILLERS


@cache
def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter) in ("Mn", "Me")
