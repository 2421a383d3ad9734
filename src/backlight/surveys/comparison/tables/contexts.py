"""Where in the text the units that differ mattered most, as the runs themselves tell."""

from collections.abc import Mapping

import numpy as np

from backlight.surveys.comparison.measure.sides import Run
from backlight.surveys.comparison.names import BETWEEN
from backlight.tables import Table

_KINDS = ("feature", "dimension")
_TOKENS = "top_tokens"
_MOST = 2


def with_contexts(table: Table, runs: tuple[Run, Run]) -> Table:
    """Add to units that differ the tokens where each mattered most in the run where it is larger.

    Runs list such tokens of their largest features or dimensions alone; of others the column
    ``context`` is empty. Two are told, with a bar between them. If neither run has any, there is
    no such column.

    Args:
        table: The table ``differences``.
        runs: The two runs.

    Returns:
        The table, with one column more.
    """
    first, second = (_contexts(run) for run in runs)
    if not first and not second:
        return table
    sizes = zip(np.abs(table["a"]).tolist(), np.abs(table["b"]).tolist(), strict=True)
    units = zip(
        table["kind"].tolist(),
        np.nan_to_num(table["layer"], nan=-1.0).astype(np.int64).tolist(),
        table["index"].tolist(),
        strict=True,
    )
    told = [
        (first if a >= b else second).get(unit, "")
        for unit, (a, b) in zip(units, sizes, strict=True)
    ]
    column = np.array(told, dtype=object)
    return Table(name=table.name, columns={**table, "context": column}, units=table.units)


def _contexts(run: Run) -> Mapping[tuple[str, int, int], str]:
    """Read the first contexts of every feature or dimension that a run tells of."""
    table = run.tables.get(_TOKENS)
    kind = next((each for each in _KINDS if table is not None and each in table), None)
    if table is None or kind is None:
        return {}
    found: dict[tuple[str, int, int], list[str]] = {}
    rows = zip(table["layer"].tolist(), table[kind].tolist(), table["context"], strict=True)
    for layer, number, context in rows:
        own = found.setdefault((kind, int(layer), int(number)), [])
        if len(own) < _MOST and str(context) not in own:
            own.append(str(context))
    return {unit: BETWEEN.join(contexts) for unit, contexts in found.items()}
