"""What was understood of a log, and what was not, in a few sentences."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from backlight.training.log.foreign.columns import Columns
from backlight.training.log.foreign.runs import Run
from backlight.training.log.foreign.values import sample_of
from backlight.training.log.foreign.words import Field

_NAMES: tuple[tuple[Field, str], ...] = (
    ("loss", "loss"),
    ("norm", "gradient norm"),
)
_MOST_NOTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What reading the text has shown.

    Attributes:
        tool: Which tool wrote it, or how it is written.
        unit: What its rows are called: line, entry or record.
        unclear: How many lines should have been rows, and cannot be read.
        first_unclear: The number of the first of these.
        noise: How many lines say nothing of a step.
        notes: Whole sentences.
    """

    tool: str
    unit: str
    unclear: int
    first_unclear: int
    noise: int
    notes: tuple[str, ...]


def tell(columns: Columns, run: Run, told: Told) -> str:
    """Say what was understood.

    Args:
        columns: What the log holds.
        run: The run that is judged.
        told: What reading the text has shown.

    Returns:
        "60 steps of loss and gradient norm, Transformers Trainer.", and what else must be known.
    """
    first = f"{_quantities(columns, run)}, {told.tool}."
    more = [*told.notes[:_MOST_NOTES], *_about_steps(columns, run, told), *_skipped(columns, told)]
    if run.others:
        used = [run.series[field].key for field in ("loss", "norm") if run.series[field].key]
        names = ", ".join(map(sample_of, run.others[:4])) + (" and others" * (len(run.others) > 4))
        more.append(f"Read from {' and '.join(map(sample_of, used))}; not used: {names}.")
    return " ".join([first, *more])


def _quantities(columns: Columns, run: Run) -> str:
    """Count steps, once if all quantities have as many."""
    counts = {label: len(run.series[field].steps) for field, label in _NAMES}
    cells = run.row_steps[np.array(columns.norm_cells[0], dtype=np.int64)]
    if len(columns.names):
        counts[f"gradient norms of {len(columns.names)} layers"] = len(np.unique(cells[cells >= 0]))
    groups: dict[int, list[str]] = {}
    for label, count in counts.items():
        if count:
            groups.setdefault(count, []).append(label)
    (count, labels), *others = sorted(groups.items(), reverse=True)
    text = f"{count:,} step{'s' if count != 1 else ''} of {' and '.join(labels)}"
    return "".join([text, *(f", {each:,} of {' and '.join(names)}" for each, names in others)])


def _about_steps(columns: Columns, run: Run, told: Told) -> Iterator[str]:
    if run.counted == "only epochs are":
        yield "It counts epochs, not steps."
    elif run.counted:
        yield f"Rows are counted as steps, since {run.counted}{_IN_IT.get(run.counted, '')}."
    if run.num_runs > 1:
        yield (
            f"It holds {run.num_runs} runs, and only the last is judged: steps begin again at "
            f"{told.unit} {columns.lines[run.begins]:,}."
        )
    if run.num_replaced:
        rows = "1 row" if run.num_replaced == 1 else f"{run.num_replaced:,} rows"
        yield f"The run was resumed: {rows} of steps that were done again later count no more."
    if run.num_repeated:
        numbers = "1 is" if run.num_repeated == 1 else f"{run.num_repeated:,} are"
        yield f"Of several numbers for one step the last counts ({numbers} left out)."
    if run.unordered:
        yield "Rows are not in the order of their steps and were sorted."
    if run.num_without_step:
        yield f"Left out: {_rows(run.num_without_step)} without a whole number as its step."


_IN_IT = {"no step is": " in the log"}


def without_steps(columns: Columns) -> Iterator[str]:
    """Count the rows that are no steps, by reason."""
    skipped = columns.skipped
    parts = [
        (skipped.evaluations, "of evaluation"),
        (skipped.summaries, "of summary"),
        (skipped.others, "without loss or norm"),
    ]
    some = [f"{_rows(count)} {what}" for count, what in parts if count]
    if some:
        yield f"No steps: {', '.join(some)}."


def _skipped(columns: Columns, told: Told) -> Iterator[str]:
    skipped = columns.skipped
    yield from without_steps(columns)
    if told.unclear:
        lines = "1 line" if told.unclear == 1 else f"{told.unclear:,} lines"
        yield f"Left out: {lines} that cannot be read (the first is line {told.first_unclear:,})."
    if told.noise:
        yield f"{told.noise:,} other line{'s' if told.noise != 1 else ''}."
    if skipped.unread:
        values = "1 value" if skipped.unread == 1 else f"{skipped.unread:,} values"
        yield f"Left out: {values} such as {skipped.example}, no number."


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
