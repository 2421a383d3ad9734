"""Tables of a validation as they are printed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from backlight.runs.results import Results
from backlight.surveys.driver.words.printing import Column, Shown, every_column, percent
from backlight.surveys.driver.words.sentences import number
from backlight.surveys.validation.names import NO_LAYER
from backlight.surveys.validation.options import ValidateConfig
from backlight.tables import Table

_NOTE = "[]: 95 % intervals. Wrong: the sign is, or more than half of the true change is missing."


def brief(options: ValidateConfig, results: Results) -> Iterator[Shown | str]:
    """Show how well predictions agree, by kind of unit and by the size of the change.

    Args:
        options: The options of the run.
        results: What was found.

    Yields:
        Two small tables, and what a reader of them must know.
    """
    del options
    table = results.tables["agreement"]
    whole = table.select(table["layers"] == "all")
    yield Shown(
        table=whole,
        columns=[
            Column("kind", "kind"),
            Column("ablation", "ablation"),
            Column("units", "num_units"),
            Column("signs agree", cell=_interval("sign_agreement")),
            Column("Pearson", cell=_interval("pearson")),
            Column("ranks", cell=_interval("spearman")),
            Column("slope", "slope", ".2f"),
            Column("verdict", "verdict"),
        ],
    )
    sizes = results.tables["by_size"]
    yield Shown(
        table=sizes.select(sizes["num_units"] > 0),
        columns=[
            Column("relative size", "relative_size"),
            Column("changes", "num_units"),
            Column("wrong", cell=percent("wrong_share")),
            Column("signs agree", cell=_interval("sign_agreement")),
            Column("Pearson", cell=_interval("pearson")),
        ],
    )
    yield " ".join([_NOTE, *untested_lines(results.metadata)])


def tables(options: ValidateConfig, results: Results) -> Iterator[Shown | str]:
    """Show all tables but that of single units.

    Args:
        options: The options of the run.
        results: What was found.

    Yields:
        The tables.
    """
    del options
    for name in ("agreement", "by_size", "sites", "warning", "calibration"):
        if results.tables[name].num_rows:
            yield every_column(results.tables[name])
    yield from (_NOTE, *untested_lines(results.metadata))


def untested_lines(metadata: Mapping[str, Any]) -> list[str]:
    """Say of which layers no unit was tested, and why.

    Args:
        metadata: What the run says of itself.

    Returns:
        A sentence for each kind of unit and reason; none if all layers had one.
    """
    return [
        f"No {each['kind']} of {_layers(each['layers'])} was tested: {each['reason']}."
        for each in metadata["untested"]
    ]


def _layers(numbers: Sequence[int]) -> str:
    """Write layers as an option does, such as ``layers 0-3, 7``."""
    if list(numbers) == [NO_LAYER]:
        return "sites that belong to no layer"
    spans: list[list[int]] = []
    for layer in sorted(set(numbers) - {NO_LAYER}):
        if spans and spans[-1][-1] == layer - 1:
            spans[-1].append(layer)
        else:
            spans.append([layer])
    told = ", ".join(f"{own[0]}-{own[-1]}" if len(own) > 1 else f"{own[0]}" for own in spans)
    rest = " and of sites that belong to none" * (NO_LAYER in numbers)
    return f"layer{'s' * (len(numbers) > 1)} {told}{rest}"


def _interval(name: str) -> Callable[[Table, int], str]:
    def cell(table: Table, row: int) -> str:
        value, low, high = (float(table[f"{name}{end}"][row]) for end in ("", "_low", "_high"))
        if np.isnan(value):
            return ""
        return f"{number(value, 2)} [{number(low, 2)}, {number(high, 2)}]"

    return cell
