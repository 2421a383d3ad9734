"""What was understood of a log, and what was not, in a few sentences."""

from collections.abc import Iterator

import numpy as np

from backlight.errors import RunDirectoryError, quoted
from backlight.training.log.foreign.columns import Columns
from backlight.training.log.foreign.formats import format_of
from backlight.training.log.foreign.rows import Rows
from backlight.training.log.foreign.runs import Run
from backlight.training.log.foreign.values import sample_of
from backlight.training.log.foreign.words import FIELDS, Field

_LABELS: dict[Field, str] = {"loss": "loss", "norm": "norm of the gradient", "step": "step"}
_MOST_NOTES = 4
_SHOWN_KEYS = 12
_SHOWN = 200  # characters of what else is wrong


def tell(rows: Rows, run: Run, note: str) -> str:
    """Describe what was understood.

    Args:
        rows: What was read.
        run: The run that is judged.
        note: Which of several files it is; empty if there was no choice.

    Returns:
        "60 steps of loss and gradient norm, Transformers Trainer.", and what else must be known.
    """
    tool = format_of(rows.path.name, rows.columns.keys(), rows.sample) or rows.container
    notes = [note, *rows.notes] if note else rows.notes
    told = [f"{_quantities(rows.columns, run)}, {tool}.", *notes[:_MOST_NOTES]]
    told += [*_about_steps(rows, run), *_without_steps(rows.columns), *_left_out(rows)]
    if run.others:
        used = [run.series[field].key for field in ("loss", "norm") if run.series[field].key]
        names = ", ".join(map(sample_of, run.others[:4])) + (" and others" * (len(run.others) > 4))
        told.append(f"Read from {' and '.join(map(sample_of, used))}; not used: {names}.")
    return " ".join(told)


def nothing_read(rows: Rows) -> RunDirectoryError:
    """Make an error that names what a log has instead of what is needed."""
    columns, skipped = rows.columns, rows.columns.skipped
    names = [sample_of(key) for key in columns.keys()[:_SHOWN_KEYS]]
    more = len(columns.keys()) - len(names)
    understood = "; ".join(f"{_LABELS[name]}: {', '.join(FIELDS[name][:4])}" for name in _LABELS)
    if skipped.unread:
        has = f"{skipped.unread:,} values such as {skipped.example} that are no numbers"
    elif names:
        has = f"{', '.join(names)}{f' and {more} others' if more > 0 else ''}"
    else:
        has = f"no {rows.unit} with names and numbers"
    notes = " ".join([*rows.notes, *_without_steps(columns)])
    has += f" ({notes[:_SHOWN].rstrip('.')})" if notes else ""
    return RunDirectoryError(
        f"{quoted(rows.path)} holds no norm of a gradient and no loss of a step: it has {has}. "
        f"Understood are, among others: {understood}."
    )


def _quantities(columns: Columns, run: Run) -> str:
    """Count steps, once if all quantities have as many."""
    counts = {
        "loss": len(run.series["loss"].steps),
        "gradient norm": len(run.series["norm"].steps),
    }
    cells = run.row_steps[np.array(columns.norm_cells[0])]
    if len(columns.names):
        counts[f"gradient norms of {len(columns.names)} layers"] = len(np.unique(cells[cells >= 0]))
    groups: dict[int, list[str]] = {}
    for label, count in counts.items():
        if count:
            groups.setdefault(count, []).append(label)
    (count, labels), *others = sorted(groups.items(), reverse=True)
    text = f"{_many(count, 'step')} of {' and '.join(labels)}"
    return "".join([text, *(f", {each:,} of {' and '.join(names)}" for each, names in others)])


def _about_steps(rows: Rows, run: Run) -> Iterator[str]:
    if run.counted == "only epochs are":
        yield "It counts epochs, not steps."
    elif run.counted:
        where = " in the log" if run.counted == "no step is" else ""
        yield f"Rows are counted as steps, since {run.counted}{where}."
    if run.num_runs > 1:
        yield (
            f"It holds {run.num_runs} runs, and only the last is judged: steps begin again at "
            f"{rows.unit} {rows.columns.lines[run.begins]:,}."
        )
    if run.num_replaced:
        replaced = _many(run.num_replaced, "row")
        yield f"The run was resumed: {replaced} of steps that were done again later count no more."
    if run.num_repeated:
        numbers = "1 is" if run.num_repeated == 1 else f"{run.num_repeated:,} are"
        yield f"Of several numbers for one step the last counts ({numbers} left out)."
    if run.unordered:
        yield "Rows are not in the order of their steps and were sorted."
    if run.num_without_step:
        left = _many(run.num_without_step, "row")
        yield f"Left out: {left} without a whole number as its step."


def _without_steps(columns: Columns) -> Iterator[str]:
    """Count the rows that are no steps, by reason."""
    skipped = columns.skipped
    parts = {
        "of evaluation": skipped.evaluations,
        "of summary": skipped.summaries,
        "without loss or norm": skipped.others,
    }
    some = [f"{_many(count, 'row')} {what}" for what, count in parts.items() if count]
    if some:
        yield f"No steps: {', '.join(some)}."


def _left_out(rows: Rows) -> Iterator[str]:
    skipped = rows.columns.skipped
    if rows.unclear:
        lines, first = _many(rows.unclear, "line"), rows.first_unclear
        yield f"Left out: {lines} that cannot be read (the first is line {first:,})."
    if rows.noise:
        yield f"{_many(rows.noise, 'other line')}."
    if skipped.unread:
        yield f"Left out: {_many(skipped.unread, 'value')} such as {skipped.example}, no number."


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' if count != 1 else ''}"
