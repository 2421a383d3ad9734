"""One run out of the rows of a log: which steps belong to it, and in which order.

The rules, for steps that go back in a file to which a program appended:

- back to the first step of the run, or before it: another run begins; the last one counts;
- back to a later step: the run was resumed there; what follows replaces that step and all after it;
- back to the first step while the epoch goes on: steps are counted anew in each epoch, so that rows
  are counted instead;
- back at more than an eighth of the rows: they are in no order, and are sorted by their steps;
- of rows with the same step, the last number under each name counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backlight.training.log.foreign.columns import Column, Columns
from backlight.training.log.foreign.words import Field

_QUANTITIES: tuple[Field, ...] = ("loss", "norm", "clipped", "rate")
_LEAST_BACK, _SHARE_BACK = 4, 8
_HALF, _USUAL = 0.5, 0.9  # of the most numbers of a quantity, of steps: as good as having all

_Whole = NDArray[np.int64]
_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A quantity over the steps of the run.

    Attributes:
        key: Its name in the log; empty if there is none.
        steps: ``[N]``, rising.
        values: ``[N]``.
        num_repeated: How many numbers another one of the same step replaced.
    """

    key: str
    steps: _Whole
    values: _Numbers
    num_repeated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The run that counts.

    Attributes:
        series: Each quantity.
        row_steps: ``[rows]``, the step of each row of the log; -1 if it is not of this run.
        others: Names of other columns of the same quantities, which were not used.
        num_runs: How many runs the file holds.
        begins: The row where the last one begins.
        num_replaced: How many numbers a resumed run replaced.
        num_without_step: How many rows have none.
        num_repeated: How many losses and norms another one of the same step replaced.
        counted: Why rows are counted instead of steps; empty if they are not.
        unordered: Rows were not in the order of their steps.
    """

    series: dict[Field, Series]
    row_steps: _Whole
    others: tuple[str, ...]
    num_runs: int
    begins: int
    num_replaced: int
    num_without_step: int
    num_repeated: int
    counted: str
    unordered: bool


def one_run(columns: Columns) -> Run:
    """Choose the columns, give each row its step, and cut out the last run.

    Args:
        columns: What the log holds.

    Returns:
        The run.
    """
    chosen: dict[Field, Column | None] = {
        field: _best(columns, field, _HALF) for field in _QUANTITIES
    }
    used = [column for field in ("loss", "norm") if (column := chosen[field]) is not None]
    names = {column.key for column in used}
    steps, counted = _row_steps(columns)
    cuts = _Cuts.of(steps, _sequences(columns, used), _epochs(columns))
    if cuts.within_epochs:
        steps, counted = _counting(columns), "steps begin again in each epoch"
        cuts = _Cuts.of(steps, _sequences(columns, used), None)
    kept = cuts.kept(steps)
    row_steps = np.where(kept & (steps >= 0), steps, -1)
    series: dict[Field, Series] = {
        field: _series(column, row_steps) for field, column in chosen.items()
    }
    return Run(
        series=series,
        row_steps=row_steps,
        others=tuple(
            column.key
            for column in columns.columns.values()
            if column.quantity in ("loss", "norm") and column.key not in names and column.rows
        ),
        num_runs=cuts.num_runs,
        begins=cuts.begins,
        num_replaced=int((~kept[cuts.begins :]).sum()),
        num_without_step=int((steps < 0).sum()),
        num_repeated=series["loss"].num_repeated + series["norm"].num_repeated,
        counted=counted,
        unordered=cuts.unordered,
    )


def _best(columns: Columns, field: Field, share: float) -> Column | None:
    """Choose the column with the best name of those with nearly as many numbers as any."""
    found = [each for each in columns.of(field) if each.rows]
    most = max((len(each.rows) for each in found), default=0)
    usual = [each for each in found if len(each.rows) >= share * most]
    return min(usual, key=lambda each: each.rank, default=None)


def _row_steps(columns: Columns) -> tuple[_Whole, str]:
    """Return the step of each row, -1 if it has none; and why rows are counted, if they are."""
    best = _best(columns, "step", _USUAL)
    if best is not None:
        steps = _filled(best, columns)
        if 2 * (steps >= 0).sum() >= columns.num_rows:
            return steps, ""
        return _counting(columns), "most rows have no step"
    epochs = _epochs(columns)
    if epochs is not None and np.isfinite(epochs).all():
        whole = (epochs >= 0) & (epochs < 2**53) & (epochs == np.floor(epochs))
        if whole.all() and (np.diff(epochs) > 0).all():
            return epochs.astype(np.int64), "only epochs are"
    return _counting(columns), "no step is"


def _counting(columns: Columns) -> _Whole:
    return np.arange(1, columns.num_rows + 1, dtype=np.int64)


def _spread(column: Column, num_rows: int) -> _Numbers:
    """Lay the numbers of a column out over all rows; NaN where a row has none."""
    numbers = np.full(num_rows, np.nan)
    numbers[np.array(column.rows)] = np.array(column.values)
    return numbers


def _filled(best: Column, columns: Columns) -> _Whole:
    """Take steps from a column, and from others that say the same wherever both are there."""
    steps = _spread(best, columns.num_rows)
    for column in sorted(columns.of("step"), key=lambda each: each.rank):
        others = _spread(column, columns.num_rows)
        if ((steps == others) | np.isnan(steps) | np.isnan(others)).all():
            steps = np.where(np.isnan(steps), others, steps)
    return np.where(np.isnan(steps), -1, steps).astype(np.int64)


def _epochs(columns: Columns) -> _Numbers | None:
    column = next(iter(columns.of("epoch")), None)
    return _spread(column, columns.num_rows) if column is not None and column.rows else None


def _sequences(columns: Columns, used: Sequence[Column]) -> list[_Whole]:
    """Return the rows of each quantity: a file may hold one quantity behind the other."""
    cells = np.unique(np.array(columns.norm_cells[0]))
    return [*(np.array(column.rows) for column in used), *([cells] if len(cells) else [])]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cuts:
    """Where steps go back.

    Attributes:
        begins: The row where the last run begins.
        num_runs: How many there are.
        resumed: Rows of the last run at which it was resumed, with the step at which it went on.
        within_epochs: Steps begin again in each epoch.
        unordered: Rows are in no order.
    """

    begins: int = 0
    num_runs: int = 1
    resumed: tuple[tuple[int, int], ...] = ()
    within_epochs: bool = False
    unordered: bool = False

    @classmethod
    def of(cls, steps: _Whole, sequences: Sequence[_Whole], epochs: _Numbers | None) -> "_Cuts":
        drops: list[tuple[int, int]] = []
        first = None
        for rows in sequences:
            rows = rows[steps[rows] >= 0]
            own = steps[rows]
            if not len(own):
                continue
            first = int(own[0]) if first is None else min(first, int(own[0]))
            back = np.flatnonzero(np.diff(own) < 0) + 1
            if _is_unordered(own, back):
                return cls(unordered=True)
            drops += zip(rows[back].tolist(), rows[back - 1].tolist(), strict=True)
        return _walked(sorted(drops), steps, epochs, first or 0)

    def kept(self, steps: _Whole) -> NDArray[np.bool_]:
        """Find which rows belong to the run and were not replaced."""
        # A row counts if its step lies below that of every later resumption: the least of the
        # limits behind it, accumulated from the end.
        limits = np.full(len(steps) + 1, np.iinfo(np.int64).max)
        for row, step in self.resumed:
            limits[row - 1] = step
        later = np.minimum.accumulate(limits[::-1])[::-1][: len(steps)]
        return (np.arange(len(steps)) >= self.begins) & (steps < later)


def _is_unordered(own: _Whole, back: _Whole) -> bool:
    """Check whether steps go back so often that rows are in no order; restarts do not count."""
    if 2 * len(back) > len(own) > _LEAST_BACK:
        return True
    restarts = own[back] <= own[0]
    odd = int((~restarts).sum())
    return odd >= _LEAST_BACK and _SHARE_BACK * odd > len(own)


def _walked(
    drops: Sequence[tuple[int, int]], steps: _Whole, epochs: _Numbers | None, first: int
) -> _Cuts:
    """Go through the rows at which steps go back, each with the row before it of its quantity."""
    begins, num_runs, start, last_cut = 0, 1, first, 0
    resumed: list[tuple[int, int]] = []
    in_epochs = 0
    for row, before in drops:
        if before < last_cut:  # another quantity of the same rows
            continue
        step = int(steps[row])
        last_cut = row
        if step > start:
            resumed.append((row, step))
            continue
        in_epochs += epochs is not None and bool(epochs[row] > epochs[before])
        begins, num_runs, start = row, num_runs + 1, step
        resumed.clear()
    if num_runs > 1 and in_epochs == num_runs - 1:
        return _Cuts(within_epochs=True)
    return _Cuts(begins=begins, num_runs=num_runs, resumed=tuple(resumed))


def _series(column: Column | None, row_steps: _Whole) -> Series:
    """Order the numbers of a run by step; of several for one step the last counts."""
    rows = np.array(column.rows if column else (), dtype=np.int64)
    values = np.array(column.values if column else (), dtype=np.float64)
    steps = row_steps[rows]
    order = np.argsort(steps, kind="stable")
    order = order[steps[order] >= 0]
    values, steps = values[order], steps[order]
    last = np.append(np.diff(steps) > 0, True)[: len(steps)]
    return Series(
        key=column.key if column else "",
        steps=steps[last],
        values=values[last],
        num_repeated=int((~last).sum()),
    )
