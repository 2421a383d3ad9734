"""Tables of a series of runs: those of its pairs one after another, and how a statistic moves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.surveys.comparison.measure import Comparison, Comparisons
from backlight.surveys.comparison.measure.comparison import Part
from backlight.surveys.comparison.options import CompareConfig
from backlight.surveys.comparison.order import surest_first
from backlight.surveys.driver.results.findings import Findings
from backlight.tables import Table


def series_findings(
    options: CompareConfig,
    measured: Comparisons,
    *,
    layers: Sequence[Table],
    differences: Sequence[Table],
    data: Sequence[Mapping[str, NDArray[Any]]],
) -> Findings:
    """Turn a series of comparisons into tables and arrays.

    Args:
        options: What was asked.
        measured: What was computed.
        layers: The layers of each pair.
        differences: The units of each pair that differ most surely.
        data: The arrays of each pair.

    Returns:
        The tables ``moves``, ``layers`` and ``differences``; and every unit's numbers as arrays,
        whose names begin with the number of the run, ``run_{k}_``.
    """
    pairs = measured.pairs
    by_layer, by_q = _joined(layers, pairs), surest_first(_joined(differences, pairs))
    told = [
        {**each, "label": run.label}
        for run, each in zip(measured.runs, measured.material["compared"].values(), strict=True)
    ]
    return Findings(
        tables=(moves_table(measured, by_layer), by_layer, by_q),
        data={
            f"run_{number}_{name}": values
            for number, arrays in enumerate(data, start=1)
            for name, values in arrays.items()
        },
        metadata={
            "compared": measured.runs[0].command,
            "series": told,
            "against": options.against,
            "statistics": list(pairs[0].statistics),
            "errors": list(dict.fromkeys(by_layer["errors"].tolist())),
            "same_passages": all(pair.same_passages for pair in pairs),
            "num_compared": int(by_layer["num_compared"].sum()),
            "num_sure": int(by_layer["num_sure"].sum()),
            "q": options.q,
            "left_out": list(dict.fromkeys(each for pair in pairs for each in pair.left_out)),
            "allowed": list(options.allowed),
        },
    )


def moves_table(measured: Comparisons, layers: Table) -> Table:
    """Tabulate how the statistic of each layer moves from run to run.

    ``median`` is that of the layer's units (of their absolute values where they have signs),
    ``low`` and ``high`` are the quartiles. ``differ`` is the share of the units compared that
    surely differ from the run ``against``, and ``rank_agreement`` how both rankings agree; the
    first run has neither.

    Args:
        measured: The series.
        layers: The layers of its pairs, pair after pair.

    Returns:
        The table, one row for each kind, statistic and layer of each run, run after run.
    """
    unknown = float("nan")
    rows = [
        {
            **_place(measured, 0, part),
            **_quartiles(part.first.estimates.value),
            "differ": unknown,
            "rank_agreement": unknown,
        }
        for part in measured.pairs[0].parts
    ]
    shares = iter((layers["num_sure"] / np.maximum(layers["num_compared"], 1)).tolist())
    for number, pair in enumerate(measured.pairs, start=1):
        rows += [
            {
                **_place(measured, number, part),
                **_quartiles(part.second.estimates.value),
                "differ": next(shares),
                "rank_agreement": part.agreement,
            }
            for part in pair.parts
        ]
    columns = {name: _column([row[name] for row in rows]) for name in rows[0]}
    units = {part.first.unit for pair in measured.pairs for part in pair.parts}
    unit = units.pop() if len(units) == 1 else ""
    return Table(
        name="moves",
        columns=columns,
        units=dict.fromkeys(("median", "low", "high"), unit) if unit else {},
    )


def _place(measured: Comparisons, number: int, part: Part) -> dict[str, Any]:
    kind, statistic, layer = part.key
    return {
        "number": number,
        "run": measured.runs[number].label,
        "kind": kind,
        "statistic": statistic,
        "layer": layer if layer >= 0 else float("nan"),
    }


def _quartiles(values: NDArray[np.float64]) -> Mapping[str, float]:
    known = np.abs(values[~np.isnan(values)])
    low, median, high = np.percentile(known, (25, 50, 75)) if len(known) else [np.nan] * 3
    return {"median": float(median), "low": float(low), "high": float(high)}


def _column(values: Sequence[Any]) -> NDArray[Any]:
    return np.array(values, dtype=object) if isinstance(values[0], str) else np.array(values)


def _joined(tables: Sequence[Table], pairs: Sequence[Comparison]) -> Table:
    """Put the tables of pairs one below the other, with the runs of each in front."""
    runs = {
        "against": [pair.runs[0].label for pair in pairs],
        "run": [pair.runs[1].label for pair in pairs],
    }
    counts = [table.num_rows for table in tables]
    columns = {
        name: np.repeat(np.array(labels, dtype=object), counts) for name, labels in runs.items()
    }
    columns |= {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    return Table(name=tables[0].name, columns=columns, units=tables[0].units)
