"""From a log of another tool to its history."""

from pathlib import Path

import numpy as np

from backlight.training.log.foreign.columns import Columns
from backlight.training.log.foreign.events import MARK, Events
from backlight.training.log.foreign.folders import Found, find_log
from backlight.training.log.foreign.rows import Rows
from backlight.training.log.foreign.runs import Run, one_run
from backlight.training.log.foreign.telling import nothing_read, tell
from backlight.training.log.foreign.text import head_of, opened
from backlight.training.log.foreign.words import is_reward
from backlight.training.log.history import History, ParameterInfo, aligned, group_norms


def read_foreign(path: Path) -> History:
    """Read a log that another tool wrote.

    Args:
        path: The file, or a folder that holds it.

    Returns:
        What it says; ``understood`` tells what was understood.

    Raises:
        RunDirectoryError: If there is no log, or nothing in it is understood.
    """
    found = find_log(path) if _is_folder(path) else Found(files=[path])
    rows = Rows(path=found.files[0])
    if MARK in head_of(found.files[0])[:100]:
        rows.read_events(Events(found.files))
    else:
        with opened(found.files[0]) as text:
            rows.read_text(text)
    if not rows.columns.num_rows:
        raise nothing_read(rows)
    run = one_run(rows.columns)
    if not len(run.series["loss"].steps) + len(run.series["norm"].steps) + len(rows.columns.names):
        raise nothing_read(rows)
    return _history(rows.columns, run, source=str(path), understood=tell(rows, run, found.note))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # opening it says what is wrong
        return False


def _history(columns: Columns, run: Run, *, source: str, understood: str) -> History:
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
    norm, clipped, loss = (run.series[field] for field in ("norm", "clipped", "loss"))
    cell_rows, cell_names, cell_norms = map(np.array, columns.norm_cells)
    cell_steps = run.row_steps[cell_rows]
    ours = cell_steps >= 0
    steps = np.union1d(norm.steps, cell_steps[ours])
    layers = np.full((len(steps), len(columns.names)), np.nan)
    present = np.zeros(layers.shape, dtype=np.bool_)
    cells = np.searchsorted(steps, cell_steps[ours]), cell_names[ours]
    layers[cells], present[cells] = cell_norms[ours], True  # of two for one step, the later counts
    whole = aligned(norm.steps, norm.values, steps)
    if columns.names:
        total = group_norms([""] * len(columns.names), layers, present).norms[:, 0]
        whole = np.where(np.isin(steps, norm.steps), whole, total)
    rate = run.series["rate"]
    rates = aligned(rate.steps, rate.values, steps)[:, None]
    return History(
        parameters=tuple(
            ParameterInfo(name=name, module=name, layer=place, depth=place)
            for name, place in columns.names.items()
        ),
        steps=steps,
        statistics={"norm": layers},
        present=present,
        global_norm=whole,
        clipped_norm=aligned(clipped.steps, clipped.values, steps),
        learning_rates=rates if rate.key else rates[:, :0],
        scale=np.full(len(steps), np.nan),
        loss_steps=loss.steps,
        losses=loss.values,
        of_rewards=any(map(is_reward, columns.unknown)),
        source=source,
        understood=understood,
    )
