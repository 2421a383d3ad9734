"""The parts of a screen: sentences and small tables, as many rows of these as there is room for."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from backlight.foreign.text import plain
from backlight.surveys.driver.words.cutting import cut_around, cut_end
from backlight.surveys.driver.words.lines import width, wrapped
from backlight.surveys.driver.words.printing import Shown
from backlight.surveys.driver.words.sentences import count

_BETWEEN = "   "
_LEAST = 12  # columns of a cell that is cut off


def lines_of(shown: Shown) -> list[Text]:
    """Write a table as a line of headings and one for each row, none wider than a screen."""
    return list(_small(shown).lines)


def fitted(brief: Iterable[Shown | str], room: int) -> list[Text]:
    """Lay small tables and sentences out, with an explanation of every sign that is to be seen.

    Args:
        brief: They; empty sentences and tables without rows are left out.
        room: How many lines there are. So many rows are left out, then the last tables, and it is
            said how many.

    Returns:
        The lines. Behind each part is one that is blank, or says what there is no room for.
    """
    parts = [_small(each) for each in brief if not _is_empty(each)]
    first = _Layout.of(_explained(parts, [sign for part in parts for sign in part.signs]), room)
    # Without what explains signs that are not to be seen there is more room: another of them may
    # come to be seen, and then some of the room stays empty.
    less = (_Layout.of(_explained(parts, first.signs), room - spare) for spare in range(room))
    return next((each for each in less if each.signs == first.signs), first).lines


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a screen.

    Attributes:
        lines: All of it; of a table, the headings and each row.
        explained: Of each line, what explains the signs in it.
        sentence: It unbroken; None if it is a table, of which rows may be left out.
        num_all: Of a table, how many rows there are, with those that are not in it.
    """

    lines: Sequence[Text]
    explained: Sequence[Collection[str]] = ()
    sentence: str | None = None
    num_all: int = 0

    @property
    def is_table(self) -> bool:
        """Whether rows of it may be left out."""
        return self.sentence is None

    @property
    def signs(self) -> list[str]:
        """What explains all signs in it."""
        return self.explaining(len(self.lines))

    def explaining(self, num_lines: int) -> list[str]:
        """Return what explains the signs in the first lines."""
        return [each for line in self.explained[:num_lines] for each in line]

    @property
    def least(self) -> int:
        """How many of its lines make sense without the others."""
        return min(len(self.lines), 2) if self.is_table else len(self.lines)

    def first(self, num_lines: int) -> list[Text]:
        """Take the first lines, and a blank one; if rows are missing, one of them counts all."""
        kept = [*self.lines[:num_lines], Text()]
        if self.is_table and num_lines - 1 < self.num_all:
            told = f"{_BETWEEN}({num_lines - 1} of {self.num_all:,} rows)"
            place = 0 if kept[0].cell_len + len(told) <= width() else -1
            kept[place] = Text.assemble(kept[place], told)
        return kept


@dataclass(frozen=True, slots=True)
class _Layout:
    """The parts of a screen that there is room for.

    Attributes:
        parts: They.
        nums: How many lines of each.
        missing: The others.
    """

    parts: Sequence[_Part]
    nums: Sequence[int]
    missing: Sequence[_Part]

    @classmethod
    def of(cls, parts: Sequence[_Part], room: int) -> "_Layout":
        """Keep as many lines of each part as there is room for, with a blank one behind each."""
        kept = list(parts)
        while kept and _least(kept) > room:
            kept.remove(next((part for part in reversed(kept) if part.is_table), kept[-1]))
        nums = [part.least for part in kept]
        for _ in range(room - sum(nums) - len(nums)):
            cut = [place for place, part in enumerate(kept) if nums[place] < len(part.lines)]
            if cut:
                nums[min(cut, key=nums.__getitem__)] += 1
        return cls(kept, nums, [part for part in parts if part not in kept])

    @property
    def lines(self) -> list[Text]:
        """All lines; the last says how many tables are missing, if any are."""
        pairs = zip(self.parts, self.nums, strict=True)
        lines = [line for part, num in pairs for line in part.first(num)]
        if lines and self.missing:
            noun = "table" if all(part.is_table for part in self.missing) else "part"
            told = f"{_BETWEEN}({count(len(self.missing), f'more {noun}')} with --table)"
            lines[-1] = Text.assemble(lines[-1], told)
        return lines

    @property
    def signs(self) -> list[str]:
        """What explains the signs that are to be seen."""
        pairs = zip(self.parts, self.nums, strict=True)
        return list(dict.fromkeys(sign for part, num in pairs for sign in part.explaining(num)))


def _least(parts: Sequence[_Part]) -> int:
    return sum(part.least + 1 for part in parts)


def _explained(parts: Sequence[_Part], signs: Iterable[str]) -> list[_Part]:
    """Begin the first sentences below the last table with signs with what explains these."""
    told = " ".join(dict.fromkeys(signs))
    if not told:
        return list(parts)
    behind = 1 + max(place for place, part in enumerate(parts) if part.signs)
    places = range(behind, len(parts))
    where = next((place for place in places if not parts[place].is_table), None)
    if where is None:
        return [*parts, _sentence(told)]
    return [*parts[:where], _sentence(f"{told} {parts[where].sentence}"), *parts[where + 1 :]]


def _is_empty(part: Shown | str) -> bool:
    return not (part if isinstance(part, str) else part.table.num_rows)


def _sentence(text: str) -> _Part:
    return _Part(wrapped([text]), sentence=text)


def _small(shown: Shown | str) -> _Part:
    """Write a sentence, or a table as a line of headings and one for each row."""
    if isinstance(shown, str):
        return _sentence(shown)
    columns = shown.columns
    headings = [plain(column.heading) for column in columns]
    rows = [
        [plain(column.text(shown.table, row).replace("\n", " ")) for column in columns]
        for row in range(shown.table.num_rows)
    ]
    widths = _widths([headings, *rows], [column.wraps for column in columns])
    heading = _BETWEEN.join(map(cut_end, headings, widths)).rstrip()
    cells = [  # columns without a width are left out
        [
            (cut_around if column.is_context else cut_end)(cell, wide)
            for cell, wide, column in zip(row, widths, columns, strict=False)
        ]
        for row in rows
    ]
    explained = [
        [
            column.sign.meaning
            for cell, column in zip(row, columns, strict=False)
            if column.sign is not None and column.sign.is_in(cell)
        ]
        for row in cells
    ]
    lines = [_BETWEEN.join(row).rstrip() for row in cells]
    return _Part(
        [Text(heading, style="bold"), *map(Text, lines)],
        [[], *explained],
        num_all=len(lines) if shown.num_all is None else shown.num_all,
    )


def _widths(rows: Sequence[Sequence[str]], gives_way: Sequence[bool]) -> list[int]:
    """Choose the widths of columns so that a row is one line; the last ones may get none."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    over = sum(widths) + len(_BETWEEN) * (len(widths) - 1) - width()
    for place in reversed(np.flatnonzero(gives_way).tolist()):
        less = min(max(over, 0), max(widths[place] - _LEAST, 0))
        widths[place] -= less
        over -= less
    while len(widths) > 1 and over > 0:
        over -= widths.pop() + len(_BETWEEN)
    return [*widths[:-1], min(widths[-1], width())]
