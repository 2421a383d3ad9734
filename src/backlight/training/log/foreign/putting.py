"""From the numbers of one run to its history."""

import numpy as np
from numpy.typing import NDArray

from backlight.training.log.foreign.columns import Columns
from backlight.training.log.foreign.runs import Run, Series
from backlight.training.log.foreign.words import is_reward
from backlight.training.log.history import History, ParameterInfo


def put_together(columns: Columns, run: Run, *, source: str, understood: str) -> History:
    """Put a history together.

    Each name under ``norms`` counts as a parameter and as a module, in the order in which the
    names appear, from the input to the loss; where the norm of the whole is missing, it is the root
    of the sum of their squares.

    Args:
        columns: What the log holds.
        run: The run that counts.
        source: Where it was read from.
        understood: What was understood.

    Returns:
        The history.
    """
    norm, loss, rate = (run.series[field] for field in ("norm", "loss", "rate"))
    cell_steps = run.row_steps[np.array(columns.norm_cells[0], dtype=np.int64)]
    steps = np.union1d(norm.steps, cell_steps[cell_steps >= 0])
    layers, present = _layers(columns, cell_steps, steps)
    whole = _aligned(norm, steps)
    if columns.names:
        whole = np.where(np.isin(steps, norm.steps), whole, _total(layers, present))
    return History(
        parameters=tuple(
            ParameterInfo(name=name, module=name, layer=place, depth=place)
            for name, place in columns.names.items()
        ),
        steps=steps,
        statistics={"norm": layers},
        present=present,
        global_norm=whole,
        clipped_norm=_aligned(run.series["clipped"], steps),
        learning_rates=_aligned(rate, steps)[:, None] if rate.key else np.zeros((len(steps), 0)),
        scale=np.full(len(steps), np.nan),
        loss_steps=loss.steps,
        losses=loss.values,
        of_rewards=any(map(is_reward, columns.unknown)),
        source=source,
        understood=understood,
    )


def _aligned(series: Series, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the values at some steps, NaN where there is none."""
    values = np.full(len(steps), np.nan)
    if len(series.steps) and len(steps):
        places = np.searchsorted(series.steps, steps)
        places[places == len(series.steps)] = 0
        same = series.steps[places] == steps
        values[same] = series.values[places[same]]
    return values


def _layers(
    columns: Columns, cell_steps: NDArray[np.int64], steps: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Lay the norms of layers out as a table; of two for one step, the later counts."""
    layers = np.full((len(steps), len(columns.names)), np.nan)
    present = np.zeros(layers.shape, dtype=np.bool_)
    ours = cell_steps >= 0
    rows = np.searchsorted(steps, cell_steps[ours])
    places = np.array(columns.norm_cells[1], dtype=np.int64)[ours]
    layers[rows, places] = np.array(columns.norm_cells[2])[ours]
    present[rows, places] = True
    return layers, present


def _total(layers: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give the root of the sum of squares, which does not overflow where squares would."""
    total = np.hypot.reduce(np.where(present, layers, 0.0), axis=1)
    return np.where((present & np.isnan(layers)).any(axis=1), np.nan, total)
