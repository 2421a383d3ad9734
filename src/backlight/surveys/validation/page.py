"""What the page of a validation shows."""

from collections.abc import Iterator

import numpy as np

from backlight.report.page.views import (
    Choice,
    Colouring,
    LineChart,
    Lines,
    Places,
    Rows,
    Scatter,
    Series,
    View,
)
from backlight.runs.results import Results
from backlight.surveys.validation.names import named_sizes
from backlight.surveys.validation.options import ABLATIONS, KINDS
from backlight.tables import Table

_HOW = (
    "Agreement is of one test on some passages. It says nothing of other texts, of several units "
    "changed at once, or of what a model does after more training."
)


def views(results: Results) -> Iterator[View]:
    """List what the page shows.

    Args:
        results: The run, measured just now or read from disk.

    Yields:
        Predictions and true changes, agreement by size, and all tables.
    """
    tables = results.tables
    yield _changes(tables["units"], results.metadata["likely_wrong_above"])
    yield _by_size(tables["by_size"])
    yield Rows(
        title="Agreement",
        note="By kind of unit, ablation and depth; *_low and *_high are the ends of 95 % intervals "
        f"over passages and units. {_HOW}",
        table=tables["agreement"],
    )
    if tables["sites"].num_rows:
        yield Rows(
            title="What happens without whole outputs",
            note="The true change of the objective, with what the gradient predicts beside it.",
            table=tables["sites"],
        )
    yield Rows(
        title="The warning index",
        note="How well relative size squared over |predicted change| tells wrong predictions from "
        "right ones: the area under the curve, and the shares above the threshold.",
        table=tables["warning"],
    )
    yield Rows(title="Wrong predictions by the warning index", table=tables["calibration"])
    yield Rows(title="Every unit", table=tables["units"])


def _changes(table: Table, threshold: float) -> Scatter:
    kinds = list(dict.fromkeys(table["kind"].tolist()))
    ablations = list(dict.fromkeys(table["ablation"].tolist()))
    planes: dict[tuple[int, ...], Places] = {}
    for first, kind in enumerate(kinds):
        for second, ablation in enumerate(ablations):
            own = np.flatnonzero((table["kind"] == kind) & (table["ablation"] == ablation))
            planes[first, second] = Places(
                x=table["predicted"][own],
                y=table["true"][own],
                x_label=table.label("predicted"),
                y_label=table.label("true"),
                points=own,
            )
    return Scatter(
        title="What the gradient predicts, and what happens",
        note="Each point is one change; where both numbers are the same, the prediction is exact.",
        texts=[_told(table, row) for row in range(table.num_rows)],
        choices=[
            Choice(label="Units", options=[KINDS[kind] for kind in kinds]),
            Choice(label="Ablation", options=[ABLATIONS[each] for each in ablations]),
        ],
        planes=planes,
        colourings=[
            Colouring(
                label="relative size",
                values=named_sizes(table["relative_size"]).tolist(),
            ),
            Colouring(
                label="prediction",
                values=["wrong" if each else "right" for each in table["wrong"]],
            ),
            Colouring(
                label="warning index",
                values=[
                    "likely wrong" if each > threshold else "not flagged"
                    for each in table["warning_index"]
                ],
            ),
        ],
    )


def _told(table: Table, row: int) -> str:
    number, position = int(table["index"][row]), str(table["position"][row])
    which = position or ("" if number < 0 else str(number))
    return f"{table['kind'][row]} {which} of {table['site'][row]}".replace("  ", " ")


def _by_size(table: Table) -> Lines:
    table = table.select(table["num_units"] > 0)
    places = np.arange(table.num_rows, dtype=np.float64)
    lines = [
        Series(
            name=label,
            x=places,
            y=table[name],
            low=table[f"{name}_low"],
            high=table[f"{name}_high"],
            joined=False,
        )
        for name, label in (("sign_agreement", "signs agree"), ("pearson", "Pearson"))
    ]
    wrong = Series(name="wrong", x=places, y=table["wrong_share"], joined=False)
    chart = LineChart(
        x="relative size of the change",
        y="share, correlation",
        series=[*lines, wrong],
        categories=[str(name) for name in table["relative_size"]],
        levels={"chance": 0.5},
    )
    return Lines(
        title="Agreement by how large the change is beside the residual stream",
        note="All kinds of units together, with 95 % intervals over passages and units.",
        charts=[chart],
    )
