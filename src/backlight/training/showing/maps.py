"""Where in the model, and at which steps: gradients and updates as maps of colours."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from backlight.report.page.views import CellMap, Cells
from backlight.training.doctor.findings import Diagnosis
from backlight.training.log.history import History, block_of
from backlight.training.showing.course import USUAL, matrices, update_ratios
from backlight.training.showing.thinning import drawable, marks, spread

_MOST_CELLS = 24_000
_MOST_COLUMNS, _LEAST_COLUMNS = 400, 40
_STEP = "optimizer step"


def gradients(history: History, diagnosis: Diagnosis) -> Iterator[CellMap]:
    """Show the norm of the gradient by block where there are several, else by module.

    Args:
        history: What was recorded.
        diagnosis: Whose findings are marked.

    Yields:
        One map, none if no parameter is known.
    """
    several = len(history.layer_norms().names) > 1
    groups = history.norms_by(lambda info: (several and block_of(info)) or info.module)
    if not groups.names or not len(history.steps):
        return
    broken = np.where(np.isfinite(groups.norms), groups.norms, np.inf)
    shown = np.where(groups.present, drawable(broken), np.nan)
    cells, note = _cells(history.steps, shown, diagnosis, "gradient norm")
    yield CellMap(
        title="Gradient by place and step",
        note="Norm of the gradient; the input is at the bottom, the loss at the top. Cells without "
        "a colour are NaN or infinite (struck out), exactly zero, or had no gradient: point at "
        f"one to read which.{note}",
        rows=[name or "the model" for name in groups.names],
        row_label="block" if several else "module",
        column_label=_STEP,
        choices=(),
        maps={(): cells},
        reasons=("NaN or infinite", "exactly zero", "no gradient"),
    )


def updates(history: History, diagnosis: Diagnosis) -> Iterator[CellMap]:
    """Show how far each step moved each matrix, as a share of its norm.

    Args:
        history: What was recorded.
        diagnosis: Whose findings are marked.

    Yields:
        One map, none if no update is known.
    """
    ratios = update_ratios(history)
    if ratios is None or not np.isfinite(ratios).any():
        return
    cells, note = _cells(history.steps, ratios, diagnosis, "update / weight")
    yield CellMap(
        title="Update by matrix and step",
        note="How far a step moved the weights, as a share of their norm: each matrix, from the "
        f"input (bottom) to the loss (top). About {USUAL:g} is usual for large models, more at the "
        f"start and in small ones.{note}",
        rows=[
            history.parameters[place].name.removesuffix(".weight") for place in matrices(history)
        ],
        row_label="matrix",
        column_label=_STEP,
        choices=(),
        maps={(): cells},
        reasons=("infinite", "exactly zero", "not measured"),
    )


def _cells(
    steps: NDArray[np.int64], values: NDArray[np.float64], diagnosis: Diagnosis, label: str
) -> tuple[Cells, str]:
    """Make a map of as many steps as a page can show.

    Args:
        steps: The recorded steps.
        values: ``[steps, rows]``; infinite where something is broken, NaN where there is nothing.
        diagnosis: The steps at which its findings begin are kept and named.
        label: What the values are.

    Returns:
        The map, and sentences about it, each behind a blank.
    """
    begun = marks(diagnosis, steps)
    room = min(_MOST_COLUMNS, max(_LEAST_COLUMNS, _MOST_CELLS // values.shape[1]))
    kept = np.flatnonzero(np.isin(steps, list(begun)))
    places = spread(len(steps), most=room, kept=kept.tolist())
    shown, columns = values[places].T, steps[places].tolist()
    reasons = np.select([np.isinf(shown), shown == 0, np.isnan(shown)], [1, 2, 3], default=0)
    cells = Cells(
        values=np.where(reasons == 0, shown, np.nan),
        label=label,
        scale="log",
        columns=[_named(step, begun) for step in columns],
        marks=reasons.astype(np.int64),
    )
    return cells, "".join(f" {sentence}" for sentence in _told(len(steps), len(columns), begun))


def _named(step: int, begun: Mapping[int, str]) -> str:
    return f"{step}, {begun[step]}" if step in begun else str(step)


def _told(count: int, shown: int, begun: Mapping[int, str]) -> Iterator[str]:
    if begun:
        yield f"Findings begin at {', '.join(f'{step} ({name})' for step, name in begun.items())}."
    if shown < count:
        yield f"Of {count:,} recorded steps {shown:,} are shown, at even distances."
