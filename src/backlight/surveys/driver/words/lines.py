"""Lines on the terminal: sentences broken between their words, and how many lines a line takes."""

from collections.abc import Sequence
from math import ceil

from rich.text import Text

from backlight.foreign.text import plain
from backlight.surveys.driver.words.terminal import console

WIDTH = 100
"""Columns of a line at most, also where there is more room."""

_WITH_ERROR, _SHARE = "\ue000±\ue000", "\ue000%"  # a line is not broken within a number


def width() -> int:
    """Return how many columns a line may have."""
    return min(console().width, WIDTH)


def wrapped(sentences: Sequence[str]) -> list[Text]:
    """Break sentences into lines between their words, each beginning on its own line."""
    whole = [plain(each).replace(" ± ", _WITH_ERROR).replace(" %", _SHARE) for each in sentences]
    lines = [line.plain.rstrip() for each in whole for line in Text(each).wrap(console(), width())]
    return [Text(line.replace(_WITH_ERROR, " ± ").replace(_SHARE, " %")) for line in lines]


def height(line: Text) -> int:
    """Count the lines that a terminal makes of a line which is not broken by us."""
    return max(1, ceil(line.cell_len / console().width))


def print_lines(lines: Sequence[Text]) -> None:
    """Print lines as they are; nothing if there are none."""
    if lines:
        console().print(Text("\n").join(lines), soft_wrap=True)
