"""Any text as signs that can be seen in a figure: blanks, line breaks, foreign letters."""

from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

__all__ = ["shorten", "visible"]

_SIGNS = {" ": "·", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def visible(text: str, *, blanks: bool = True) -> str:
    r"""Write a text so that all of it can be seen.

    Args:
        text: The text, such as that of a token.
        blanks: Show a blank as ``·``.

    Returns:
        The text; line breaks are written ``\n``, and letters that the typeface of figures does not
        have by their number, such as ``\u4e2d``.
    """
    return "".join(_sign(letter, blanks=blanks) for letter in text)


def shorten(text: str, most: int) -> str:
    """Cut the middle out of a text that is too long.

    Args:
        text: The text.
        most: How many letters it may have.

    Returns:
        The text, or its beginning and its end.
    """
    if len(text) <= most:
        return text
    end = most // 2
    return f"{text[: most - end - 1]}…{text[len(text) - end :]}"


def _sign(letter: str, *, blanks: bool) -> str:
    if letter == " " and not blanks:
        return letter
    if letter in _SIGNS:
        return _SIGNS[letter]
    if letter.isprintable() and _has_glyph(letter):
        return letter
    number = ord(letter)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


@cache
def _has_glyph(letter: str) -> bool:
    return get_font(findfont(FontProperties())).get_char_index(ord(letter)) != 0
