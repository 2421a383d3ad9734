"""The index of all runs in a folder: a line for each, newest first, with a link to its page."""

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from backlight.foreign.text import brief
from backlight.report.page.views import Page, Rows
from backlight.runs.results import PAGE
from backlight.tables import Table
from backlight.tools.open.finding import DEEPEST, Found
from backlight.tools.open.rows import Row, row_of, with_picture

_MOST_PICTURES = 200
_MOST_JUDGED = 50
_HEADINGS = {
    "run": "run",
    "command": "command",
    "model": "model",
    "text": "text or task",
    "started": "started (UTC)",
    "state": "state",
    "num_tokens": "tokens",
}


def index_of(root: Path, found: Found) -> Page:
    """Make the index of the runs in a folder.

    Args:
        root: The folder; the index is to stand in it.
        found: The runs.

    Returns:
        The page.
    """
    judged = len(found.places) <= _MOST_JUDGED
    rows = [row_of(place, judges=judged) for place in found.places]
    rows.sort(key=lambda row: row.started, reverse=True)
    return Page(
        title=f"Runs in {root}",
        summary=list(_summary(rows, found)),
        views=[_view(root, rows)],
        commands={"Write this index again:": f"backlight open {shlex.quote(str(root))}"},
    )


def _view(root: Path, rows: Sequence[Row]) -> Rows:
    names = [row.path.relative_to(root) for row in rows]
    pictures = [with_picture(row) for row in rows[:_MOST_PICTURES]]
    rest = [b""] * (len(rows) - len(pictures))
    newest = f" Pictures are those of the newest {_MOST_PICTURES} runs." if rest else ""
    return Rows(
        title="Runs",
        note="Press a heading to sort. A run without a link has no page, or one of another "
        f"version: backlight open RUN writes it, and backlight open FOLDER --again all.{newest}",
        table=_table(rows, [brief(name) for name in names]),
        columns=_HEADINGS,
        links={
            "run": [
                _link(name) if row.has_page else "" for row, name in zip(rows, names, strict=True)
            ]
        },
        pictures=[*pictures, *rest] if any(pictures) else [],
    )


def _table(rows: Sequence[Row], names: Sequence[str]) -> Table:
    texts = ("command", "model", "text", "started", "state")
    return Table(
        name="runs",
        columns={
            "run": np.array(names),
            **{name: np.array([getattr(row, name) for row in rows]) for name in texts},
            "num_tokens": np.array([row.num_tokens for row in rows]),
        },
    )


def _link(name: Path) -> str:
    """Write a path as a link that is relative to the index, whatever signs are in it."""
    return f"{quote(os.fsencode(name.as_posix()))}/{PAGE}"


def _summary(rows: Sequence[Row], found: Found) -> Iterator[str]:
    states = Counter(row.state.partition(":")[0] for row in rows)
    told = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
    yield f"There {_are(len(rows), 'run')}: {told}."
    if not found.is_whole:
        yield "There are more, or too many folders to look into: open a folder further down."
    if found.num_links:
        links = _are(found.num_links, "link")
        yield f"There {links} to other folders, which {_was(found.num_links)} not followed."
    if found.num_closed:
        yield f"There {_are(found.num_closed, 'folder')} that cannot be read."
    yield f"Runs were looked for in folders up to {DEEPEST} levels below this one."


def _are(count: int, one: str) -> str:
    return f"is 1 {one}" if count == 1 else f"are {count:,} {one}s"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
