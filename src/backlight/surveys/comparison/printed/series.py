"""What a series of runs says in the terminal."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from backlight.runs.results import Results
from backlight.surveys.comparison.names import KINDS, PAIRED, told_of_pairs
from backlight.surveys.driver.words.printing import Column, Shown
from backlight.surveys.driver.words.sentences import count, name, number
from backlight.tables import Table

_FIRST = "first"
_MOST_NAMED = 6


def series_summary(results: Results) -> Sequence[str]:
    """Describe what was compared, how much of it moves, and between which runs most.

    Args:
        results: What was found, also if it was read back from disk.

    Returns:
        Three sentences.
    """
    about, layers = results.metadata, results.tables["layers"]
    what = ", ".join(KINDS[kind] for kind in dict.fromkeys(layers["kind"].tolist()))
    return [
        f"{_compared(about)}; {_errors(about)}.",
        f"Of {count(int(about['num_compared']), 'number')} of {what} in all pairs, "
        f"{int(about['num_sure']):,} surely differ (false discovery rate {about['q']:g}).",
        _most(_by_run(layers)),
    ]


def series_table(layers: Table) -> Shown:
    """Show how much differs between the runs of each pair.

    Args:
        layers: The layers of all pairs.

    Returns:
        A row for each pair.
    """
    return Shown(
        table=_by_run(layers),
        columns=[
            Column("a is", "against"),
            Column("b is", "run"),
            Column("compared", "num_compared"),
            Column("surely differ", "num_sure"),
            Column("higher in a", "num_higher_a"),
            Column("higher in b", "num_higher_b"),
            Column("ranks agree (median layer)", "rank_agreement", ".2f"),
        ],
    )


def _compared(about: Any) -> str:
    """Say which runs were compared with which, each by name once."""
    first, *others = (name(each["label"]) for each in about["series"])
    runs = f"Of {len(others) + 1} runs of `backlight {about['compared']}`"
    if about["against"] == _FIRST:
        return (
            f"{runs}, the first ({first}) was compared with each of the others ({_listed(others)})"
        )
    return f"{runs} ({_listed([first, *others])}), each was compared with the one before it"


def _listed(names: Sequence[str]) -> str:
    """List names, of many the first few and the last."""
    if len(names) <= _MOST_NAMED:
        return ", ".join(names)
    return ", ".join([*names[: _MOST_NAMED - 1], "...", names[-1]])


def _errors(about: Any) -> str:
    if list(about["errors"]) == [PAIRED]:
        return told_of_pairs("all", about)
    if PAIRED in about["errors"]:
        return "errors are of pairs where both runs read the same passages (column `errors`)"
    return "errors are clustered by passage (Welch's t)"


def _most(pairs: Table) -> str:
    shares = pairs["num_sure"] / np.maximum(pairs["num_compared"], 1)
    row = int(np.argmax(shares))
    if not shares[row]:
        return "No single difference is more than chance among so many."
    return (
        f"Most differs between {name(pairs['against'][row])} and {name(pairs['run'][row])}: "
        f"{number(100 * float(shares[row]), 2)} % of what was compared."
    )


def _by_run(layers: Table) -> Table:
    """Add up the layers of each pair, which stand one after another."""
    runs = layers["run"]
    changes = np.flatnonzero(runs[1:] != runs[:-1]) + 1
    ends = [0, *changes.tolist(), layers.num_rows]
    pieces = [np.arange(start, end) for start, end in pairwise(ends)]
    first = [piece[0] for piece in pieces]
    added = ("num_compared", "num_sure", "num_higher_a", "num_higher_b")
    return Table(
        name="pairs",
        columns={
            "against": layers["against"][first],
            "run": runs[first],
            **{name: np.array([layers[name][piece].sum() for piece in pieces]) for name in added},
            "rank_agreement": np.array(
                [_median(layers["rank_agreement"][piece]) for piece in pieces]
            ),
        },
    )


def _median(values: Any) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")
