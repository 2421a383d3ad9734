"""Tables of a comparison as they are printed."""

from collections.abc import Iterator

import numpy as np

from backlight.runs.results import Results
from backlight.surveys.comparison.names import BETWEEN
from backlight.surveys.comparison.options import CompareConfig
from backlight.surveys.comparison.order import ORDER
from backlight.surveys.comparison.printed.series import series_table
from backlight.surveys.driver.words.account import context_column
from backlight.surveys.driver.words.printing import (
    Column,
    Shown,
    every_column,
    number,
    sure_number,
    whole,
)
from backlight.surveys.driver.words.sentences import with_error
from backlight.tables import Table

_NOTE = (
    f"The surest come first, {ORDER}. "
    "a, b: the runs; ln a/b: 0.69 is twice as much in a, -0.69 in b. q: false discovery rate among "
    "all that was compared. Effect: the difference in standard deviations of passages. Overlap: of "
    "the largest, in brackets what errors alone would leave."
)


def brief(options: CompareConfig, results: Results) -> Iterator[Shown | str]:
    """Show how much differs in each layer, and the surest differences.

    Args:
        options: The options of the comparison.
        results: What was found.

    Yields:
        Two small tables (of lists of other tools, the second is of these), and what a reader of
        them must know.
    """
    del options
    layers = results.tables["layers"]
    if "moves" in results.tables:
        yield series_table(layers)
        yield _surest_of_all(results)
        yield _NOTE
        return
    yield Shown(
        table=layers.select(np.argsort(-layers["num_sure"], kind="stable"))
        if _statistics(layers)
        else layers,
        columns=[
            *_statistics(layers),
            Column("layer", cell=whole("layer")),
            Column("compared", "num_compared"),
            Column("surely differ", "num_sure"),
            Column("higher in a", "num_higher_a"),
            Column("higher in b", "num_higher_b"),
            Column("ranks agree", "rank_agreement", ".2f"),
            Column("overlap", cell=_overlap),
        ],
    )
    if "rankings" in results.tables:  # the surest difference is in the sentences
        yield _rankings(results.tables["rankings"])
    else:
        yield _surest_of_all(results)
    yield _NOTE


def tables(options: CompareConfig, results: Results) -> Iterator[Shown | str]:
    """Show all tables, the second without what is far from sure.

    Args:
        options: The options of the comparison.
        results: What was found.

    Yields:
        The tables.
    """
    del options
    if "moves" in results.tables:
        yield every_column(results.tables["moves"])
    yield every_column(results.tables["layers"])
    yield every_column(_surest(results.tables["differences"], num_rows=100))
    for each in ("rankings", "ranking"):
        if each in results.tables:
            yield every_column(results.tables[each])
    yield _NOTE


def _rankings(table: Table) -> Shown:
    """Show what lists of other tools have in common, and with what surely differs."""
    return Shown(
        table=table,
        columns=[
            Column("ranked by", "ranking"),
            Column("layer", "layer"),
            Column("listed", "num_listed"),
            Column("surely higher in a", "num_higher_a"),
            Column("in b", "num_higher_b"),
            Column("also listed by", cell=_shared, wraps=True),
        ],
    )


def _shared(table: Table, row: int) -> str:
    """Say how many features of a list are in each other list of its layer."""
    others = [name.removeprefix("in_") for name in table if name.startswith("in_")]
    return ", ".join(
        f"{name} {table[f'in_{name}'][row]}" for name in others if name != table["ranking"][row]
    )


def _statistics(layers: Table) -> list[Column]:
    """Name kind and statistic if there are several."""
    several = len(set(zip(layers["kind"], layers["statistic"], strict=True))) > 1
    runs = [Column("a is", "against"), Column("b is", "run")] if "run" in layers else []
    kinds = [Column("kind", "kind"), Column("statistic", "statistic")]
    return [*runs, *kinds * several]


def _differences(layers: Table, differences: Table) -> list[Column]:
    if "context" in differences:
        return [
            *_statistics(layers),
            Column("layer", cell=whole("layer")),
            Column("unit", cell=_unit),
            Column("ln a/b", cell=_log_ratio),
            Column("t", "t", ".1f"),
            Column("q", "q", ".2g"),
            Column("effect", "effect_size", ".2f"),
            context_column("where it mattered most", cell=_context),
        ]
    return [
        *_statistics(layers),
        Column("layer", cell=whole("layer")),
        Column("unit", cell=_unit),
        Column("a", cell=sure_number("a")),
        Column("b", cell=sure_number("b")),
        Column("ln a/b", cell=_log_ratio),
        Column("t", "t", ".1f"),
        Column("q", "q", ".2g"),
        Column("effect", "effect_size", ".2f"),
    ]


def _surest_of_all(results: Results) -> Shown:
    layers = results.tables["layers"]
    surest = _surest(results.tables["differences"], num_rows=12)
    return Shown(
        table=surest,
        columns=_differences(layers, surest),
        num_all=int(layers["num_compared"].sum()),
    )


def _surest(table: Table, num_rows: int) -> Table:
    return table.select(np.flatnonzero(~np.isnan(table["q"]))[:num_rows])  # they are in order


def _unit(table: Table, row: int) -> str:
    index, name = int(table["index"][row]), str(table["name"][row])
    told = [name] if name else []
    return " ".join([*told, *([str(index)] if index >= 0 else [])])


def _context(table: Table, row: int) -> str:
    return str(table["context"][row]).split(BETWEEN)[0]


def _log_ratio(table: Table, row: int) -> str:
    value, error = (float(table[name][row]) for name in ("log_ratio", "log_ratio_se"))
    return "" if value != value else with_error(value, error)


def _overlap(table: Table, row: int) -> str:
    share = table["overlap"][row]
    if share != share:
        return ""
    return f"{number(share, '.2f')} ({number(table['overlap_by_noise'][row], '.2f')})"
