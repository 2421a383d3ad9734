r"""Text in the cells of CSV files: no spreadsheet takes it for a formula, and it can be read back.

A cell that would be a formula (it begins with ``=``, ``+``, ``-`` or ``@``, but is no number), that
holds control codes or other letters that cannot be seen, or that would be read as something else,
is written with an apostrophe in front, which spreadsheets know as "this is text". Behind it,
letters that cannot be seen and ``\`` itself are written by their numbers.
"""

import re

from backlight.foreign.text import plain, sign

_FORMULA = re.compile("[=+\\-@\uff0b\uff0d\uff1d\uff20]")  # the wide forms of + - = @ too
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_MARKED = re.compile(r"'(?:['=+\-@\uff0b\uff0d\uff1d\uff20]|.*\\)", re.DOTALL)
_SIGN = re.compile(r"\\(?:[\\ntre]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
_SHORT = {"\\\\": "\\", "\\n": "\n", "\\t": "\t", "\\r": "\r", "\\e": ""}


def protected(text: str, *, without: str = "") -> str:
    """Write a text as the content of a cell.

    Args:
        text: The text.
        without: Letters that may not stand in this cell as they are.

    Returns:
        The content: the text itself, or marked as text. ``unprotected`` gives back the text.
    """
    formula = _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None
    ambiguous = _MARKED.match(text) is not None
    if formula or ambiguous or any(_is_hidden(letter, without) for letter in text):
        return marked(text, without=without)
    return text


def marked(text: str, *, without: str = "") -> str:
    """Write a text as the content of a cell that is known as text, whatever it looks like."""
    if not text:
        return "'\\e"
    return "'" + "".join(_written(letter, without) for letter in text)


def unprotected(cell: str) -> str:
    """Read what ``protected`` or ``marked`` wrote."""
    return _SIGN.sub(_letter, cell[1:]) if _MARKED.match(cell) else cell


def _is_hidden(letter: str, without: str) -> bool:
    return letter in without or plain(letter, lines=True) != letter


def _written(letter: str, without: str) -> str:
    if letter == "\\":
        return "\\\\"
    return sign(letter) if _is_hidden(letter, without) else letter


def _letter(found: re.Match[str]) -> str:
    written = found[0]
    return _SHORT[written] if written in _SHORT else chr(int(f"0x{written[2:]}", base=0))
