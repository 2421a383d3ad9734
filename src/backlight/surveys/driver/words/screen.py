"""What a command says when it is done, on one screen: sentences, small tables, where it went."""

import fnmatch
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from backlight.errors import ConfigError
from backlight.foreign.text import plain
from backlight.runs.config import CONFIG
from backlight.runs.directory import RunDirectory
from backlight.runs.results import PAGE, Results
from backlight.surveys.driver.words.printing import Shown, print_shown
from backlight.surveys.driver.words.sentences import count
from backlight.surveys.driver.words.terminal import console

NUM_LINES = 24
"""Lines of a screen."""

WIDTH = 100
"""Columns of a line at most, also where there is more room."""

_BETWEEN = "   "
_LABEL = 10  # columns of the word before a place
_WITH_ERROR, _SHARE = "\ue000±\ue000", "\ue000%"  # a line is not broken within a number
_LEAST = 12  # columns of a cell that is cut off


def refuse_contradiction(options: Any) -> None:
    """Refuse options that ask for whole tables and for nothing, both.

    Args:
        options: The options of a command.

    Raises:
        ConfigError: If they do.
    """
    if options.table and options.quiet:
        raise ConfigError("--table and --quiet exclude each other: print all, or the path alone.")


def refuse_table(options: Any) -> None:
    """Refuse to print tables for a caller in Python, for whom nothing is printed.

    Args:
        options: The options of a call.

    Raises:
        ConfigError: If they ask for it.
    """
    if options.table:
        raise ConfigError(
            "table prints whole tables on the command line; in Python they are in results.tables."
        )


def print_results(
    options: Any,
    results: Results,
    *,
    summary: Sequence[str],
    brief: Iterable[Shown | str],
    tables: Iterable[Shown | str],
    places: Sequence[str],
) -> None:
    """Print what was found and where it went, as much of it as the options ask for.

    Args:
        options: The options of the run.
        results: What was found.
        summary: It in sentences.
        brief: What matters most; as many rows of it are shown as a screen has room for.
        tables: The whole tables; not looked at unless they are asked for.
        places: The lines that say where it went.
    """
    if options.quiet:
        print_lines([] if results.path is None else [Text(plain(results.path))])
    elif options.table:
        print_lines([*wrapped(summary), Text()])
        print_shown(tables)
        print_lines([Text(), *map(Text, places)] if places else [])
    else:
        print_lines(screen(summary, brief, places))


def screen(
    summary: Sequence[str], brief: Iterable[Shown | str], places: Sequence[str]
) -> list[Text]:
    """Lay out a screen.

    Args:
        summary: What was found, in sentences.
        brief: Small tables and sentences, of which empty ones are left out; so are rows that there
            is no room for, then the last tables.
        places: Where it went.

    Returns:
        At most 24 lines, if the sentences leave room; a line is broken only if a name is long.
    """
    end = [Text(), *map(Text, places)] if places else []
    told = wrapped(summary)
    room = NUM_LINES - len(told) - sum(map(_height, end))
    return [*told, *_fitted([_small(each) for each in brief if each], room), *end]


def where_it_went(results: Results, command: str, picture: str) -> list[str]:
    """Describe where the results of a finished run are.

    Args:
        results: The results.
        command: What it is a run of.
        picture: The name of the figure that says most, or a pattern for it.

    Returns:
        A line for each kind of file; none if nothing was written.
    """
    path = results.path
    if path is None:
        return []
    files = [str(name) for name in RunDirectory(path).manifest()["files"]]
    pictures = [name for name in files if name.endswith((".png", ".svg"))]
    main = fnmatch.filter(pictures, picture)[-1:]  # of several modes the last: mean_abs
    others = f", such as {main[0]}" if main and len(pictures) > 1 else ""
    lines = {
        "Page": str(path / PAGE) if PAGE in files else "",
        "Figures": f"{len(pictures)} in {path}{others}" if pictures else "",
        "Tables": str(path / "tables" / "*.csv"),
        "Again": f"backlight {command} {shlex.quote(str(path / CONFIG))}",
    }
    return [f"{what:<{_LABEL}}{plain(where)}" for what, where in lines.items() if where]


def lines_of(shown: Shown) -> list[Text]:
    """Write a table as a line of headings and one for each row, none wider than a screen."""
    return list(_small(shown).lines)


def wrapped(sentences: Sequence[str]) -> list[Text]:
    """Break sentences into lines between their words, each beginning on its own line."""
    width = _width()
    whole = [plain(each).replace(" ± ", _WITH_ERROR).replace(" %", _SHARE) for each in sentences]
    lines = [line.plain.rstrip() for each in whole for line in Text(each).wrap(console(), width)]
    return [Text(line.replace(_WITH_ERROR, " ± ").replace(_SHARE, " %")) for line in lines]


def first_of(sentences: Sequence[str], num_lines: int) -> list[str]:
    """Keep the first of some sentences, and say how many more there are.

    Args:
        sentences: All of them.
        num_lines: How many lines there are for them.

    Returns:
        Those that fit; all, if all do.
    """
    heights = [len(wrapped([each])) for each in sentences]
    if sum(heights) <= num_lines:
        return list(sentences)
    fit = [sum(heights[: number + 1]) < num_lines for number in range(len(heights))].index(False)
    more = count(len(sentences) - fit, "more sentence")
    return [*sentences[:fit], f"... and {more} with --table."]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a screen.

    Attributes:
        lines: All of it.
        is_table: Whether rows of it may be left out.
    """

    lines: Sequence[Text]
    is_table: bool

    @property
    def least(self) -> int:
        """How many of its lines make sense without the others."""
        return min(len(self.lines), 2) if self.is_table else len(self.lines)

    def first(self, num_lines: int) -> list[Text]:
        """Take the first lines, behind a blank one; of a table it is told how many are missing."""
        kept = list(self.lines[:num_lines])
        if self.is_table and num_lines < len(self.lines):
            told = f"{_BETWEEN}({num_lines - 1} of {len(self.lines) - 1} rows)"
            fits = (n for n, line in enumerate(kept) if line.cell_len + len(told) <= _width())
            place = next(fits, None)
            if place is not None:
                kept[place] = Text.assemble(kept[place], told)
        return [Text(), *kept]


def _small(shown: Shown | str) -> _Part:
    """Write a sentence, or a table as a line of headings and one for each row."""
    if isinstance(shown, str):
        return _Part(wrapped([shown]), is_table=False)
    headings = [plain(column.heading) for column in shown.columns]
    rows = [
        [plain(column.text(shown.table, row).replace("\n", " ")) for column in shown.columns]
        for row in range(shown.table.num_rows)
    ]
    widths = _widths([headings, *rows], [column.wraps for column in shown.columns])
    heading, *lines = (
        _BETWEEN.join(map(_cut, row, widths)).rstrip()  # columns without a width are left out
        for row in (headings, *rows)
    )
    return _Part([Text(heading, style="bold"), *map(Text, lines)], is_table=True)


def _widths(rows: Sequence[Sequence[str]], gives_way: Sequence[bool]) -> list[int]:
    """Choose the widths of columns so that a row is one line; the last ones may get none."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    over = sum(widths) + len(_BETWEEN) * (len(widths) - 1) - _width()
    for place in reversed(np.flatnonzero(gives_way).tolist()):
        less = min(max(over, 0), max(widths[place] - _LEAST, 0))
        widths[place] -= less
        over -= less
    while len(widths) > 1 and over > 0:
        over -= widths.pop() + len(_BETWEEN)
    return [*widths[:-1], min(widths[-1], _width())]


def _cut(cell: str, width: int) -> str:
    """Fill a cell up to its width, or cut its end off."""
    if cell_len(cell) > width:
        return f"{set_cell_size(cell, width - 1)}…"
    return set_cell_size(cell, width)


def _width() -> int:
    return min(console().width, WIDTH)


def _fitted(parts: Sequence[_Part], room: int) -> list[Text]:
    """Keep as many lines of each part as there is room for, a blank line before each."""
    kept = list(parts)
    while kept and sum(part.least + 1 for part in kept) > room:
        kept.remove(next((part for part in reversed(kept) if part.is_table), kept[-1]))
    lines = [part.least for part in kept]
    for _ in range(room - sum(lines) - len(lines)):
        cut = [place for place, part in enumerate(kept) if lines[place] < len(part.lines)]
        if cut:
            lines[min(cut, key=lines.__getitem__)] += 1
    return [line for part, num in zip(kept, lines, strict=True) for line in part.first(num)]


def _height(line: Text) -> int:
    """Count the lines that a terminal makes of a line which is not broken by us."""
    return max(1, ceil(line.cell_len / _width()))


def print_lines(lines: Sequence[Text]) -> None:
    """Print lines as they are; nothing if there are none."""
    if lines:
        console().print(Text("\n").join(lines), soft_wrap=True)
