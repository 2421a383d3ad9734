"""Text cut to the columns that there are for it."""

from rich.cells import cell_len, set_cell_size

_CUT = "…"
_OPENING, _CLOSING = "«", "»"


def cut_end(text: str, room: int) -> str:
    """Fill a text up with blanks, or cut its end off.

    >>> cut_end("where light falls", 12), cut_end("light", 7)
    ('where light…', 'light  ')

    Args:
        text: The text.
        room: How many columns it is to have.

    Returns:
        So many columns.
    """
    if cell_len(text) > room:
        return f"{set_cell_size(text, room - 1)}{_CUT}" if room else ""
    return set_cell_size(text, room)


def cut_start(text: str, room: int) -> str:
    """Cut off the beginning of a text that has more columns than there are.

    >>> cut_start("where light falls", 12)
    '…light falls'

    Args:
        text: The text.
        room: How many columns it may have.

    Returns:
        At most so many columns.
    """
    if cell_len(text) <= room:
        return text
    while text and cell_len(text) >= room:
        text = text[1:]
    return f"{_CUT}{text}" if room else ""


def cut_around(context: str, room: int) -> str:
    """Fill a context up with blanks, or cut both ends off, so that what is marked in it stays.

    >>> cut_around("where the light «falls», the gradient flows", 23)
    '…the light «falls», th…'

    Args:
        context: Text in which a token stands in guillemets; other text loses its end.
        room: How many columns it is to have.

    Returns:
        So many columns.
    """
    before, opening, rest = context.partition(_OPENING)
    token, closing, after = rest.partition(_CLOSING)
    marked = f"{opening}{token}{closing}"
    around = room - cell_len(marked)
    if not closing or around < 2 or cell_len(context) <= room:
        return cut_end(marked if closing and cell_len(context) > room else context, room)
    left = min(cell_len(before), max(around // 2, around - cell_len(after)))
    kept = f"{cut_start(before, left)}{marked}"
    return f"{kept}{cut_end(after, room - cell_len(kept))}"
