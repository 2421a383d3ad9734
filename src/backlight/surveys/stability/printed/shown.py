"""The table of a run's halves as it is printed."""

from collections.abc import Callable, Iterator

from backlight.runs.results import Results
from backlight.surveys.driver.words.printing import Column, Shown, every_column, number
from backlight.surveys.stability.options import StabilityConfig
from backlight.tables import Table

_NOTE = "[]: 95 % of the splits. Whole: what another run of as many passages would agree with."


def brief(options: StabilityConfig, results: Results) -> Iterator[Shown | str]:
    """Show how alike halves are in each layer.

    Args:
        options: The options.
        results: What was found.

    Yields:
        A small table, and what a reader of it must know.
    """
    del options
    layers = results.tables["layers"]
    several = len(set(layers["statistic"].tolist())) > 1
    yield Shown(
        table=layers,
        columns=[
            *([Column("statistic", "statistic")] if several else []),
            Column("layer", "layer"),
            Column("halves agree", cell=_interval("half_agreement")),
            Column("overlap", cell=_interval("half_overlap")),
            Column("whole agrees", "whole_agreement", ".3f"),
            Column("passages wanted", "passages_wanted", ",.0f"),
        ],
    )
    yield _NOTE


def tables(options: StabilityConfig, results: Results) -> Iterator[Shown | str]:
    """Show the whole table.

    Args:
        options: The options.
        results: What was found.

    Yields:
        The table.
    """
    del options
    yield every_column(results.tables["layers"])
    yield _NOTE


def _interval(name: str) -> Callable[[Table, int], str]:
    def cell(table: Table, row: int) -> str:
        value, low, high = (table[f"{name}{end}"][row] for end in ("", "_low", "_high"))
        if value != value:
            return ""
        return f"{number(value, '.2f')} [{number(low, '.2f')}, {number(high, '.2f')}]"

    return cell
