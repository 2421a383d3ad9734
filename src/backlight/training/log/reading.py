"""From the log of a training run, ours or that of another tool, to its history."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import RunDirectoryError, quoted
from backlight.foreign.documents import read_json
from backlight.foreign.files import expanded
from backlight.training.log.foreign.reading import read_foreign
from backlight.training.log.history import STATISTICS, Event, History, ParameterInfo
from backlight.training.log.lines import decode_number, read_lines

FORMAT = 1
"""The version of the log's format."""

HEADER, LOG = "watch.json", "steps.jsonl"
"""The two files of a watched run."""

_MOST_STEPS = 2**53
_Record = Mapping[str, Any]


def read_history(path: Path | str) -> History:
    """Read the log of a training run, also while it is being written.

    >>> import tempfile
    >>> from backlight import read_history
    >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
    ...     print('{"step": 1, "loss": 2.1, "grad_norm": 0.3}', file=file, flush=True)
    ...     history = read_history(file.name)
    >>> history.losses, history.global_norm
    (array([2.1]), array([0.3]))

    Args:
        path: A directory that ``backlight.watch`` wrote, or the log of another tool: a file, or a
            folder that holds it. JSON lines and arrays, ``trainer_state.json``, CSV, event files
            of TensorBoard and console lines are read; lines such as
            ``{"step": 1, "norms": {"first layer": 0.1, "second layer": 0.2}}`` name layers from
            the input to the loss.

    Returns:
        What it says.

    Raises:
        RunDirectoryError: If there is no such log, or it is damaged.
    """
    path = expanded(path, error=RunDirectoryError)
    if path.name in (LOG, HEADER) and _is_watched(path.parent):
        path = path.parent
    if not _is_watched(path):
        return read_foreign(path)
    parameters = _read_header(path)
    return assemble(parameters, [*records_of(path), *_ranks(path)], source=str(path))


def _is_watched(path: Path) -> bool:
    try:
        return (path / HEADER).is_file()
    except (OSError, ValueError):  # such as a name that is too long; opening it says so
        return False


def assemble(
    parameters: Sequence[ParameterInfo], records: Iterable[_Record], *, source: str = ""
) -> History:
    """Put the records of a log together.

    Of two records of one step, as a training that was resumed leaves them, the later counts.

    Args:
        parameters: What the header says of each parameter.
        records: The lines, in the order in which they were written.
        source: Where they were read from.

    Returns:
        The history.

    Raises:
        RunDirectoryError: If a record does not fit the parameters, or lacks a part.
    """
    try:
        return _assembled(tuple(parameters), list(records), source)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise RunDirectoryError(
            f"The log in {quoted(source)} is damaged: a record does not have the parts or the "
            f"lengths that the header says ({str(error)[:200]})."
        ) from error


def _assembled(
    parameters: tuple[ParameterInfo, ...], records: Sequence[_Record], source: str
) -> History:
    def of(kind: str) -> list[_Record]:
        return [record for record in records if record.get("kind") == kind]

    by_step = {_step(record["step"]): record for record in of("step")}
    losses = {
        _step(step): _number(loss)
        for record in of("loss")
        for step, loss in zip(record["steps"], record["losses"], strict=True)
    }
    events = [_event(record) for record in of("event")]
    activations = {_step(record["step"]): record["layers"] for record in of("activations")}
    ranks = {(record["rank"], _step(record["step"])): record["norm"] for record in of("rank")}
    steps, seen, width = sorted(by_step), sorted(activations), len(parameters)
    measured = [by_step[step] for step in steps]
    tables = [record["parameters"] for record in measured]
    known = [sum(info.since <= step for info in parameters) for step in steps]

    def rows(name: str) -> list[list[object]]:
        cells = [table.get(name) or [None] * width for table in tables]
        return [_padded(row, least, width) for row, least in zip(cells, known, strict=True)]

    names = [name for name in STATISTICS if any(name in table for table in tables)]
    present = [[cell is not None for cell in row] for row in rows("norm")]
    layers = list(dict.fromkeys(name for found in activations.values() for name in found))
    numbers = sorted({rank for rank, _ in ranks})
    return History(
        parameters=parameters,
        steps=np.array(steps, dtype=np.int64),
        statistics={name: _statistic(name, rows(name), width) for name in names or ["norm"]},
        present=np.array(present, dtype=np.bool_).reshape(len(steps), width),
        global_norm=_sizes("norm", _column([record.get("norm") for record in measured])),
        clipped_norm=_column([record.get("clipped_norm") for record in measured]),
        learning_rates=_ragged([record.get("learning_rates") or [] for record in measured]),
        scale=_column([record.get("scale") for record in measured]),
        loss_steps=np.array(sorted(losses), dtype=np.int64),
        losses=_column([losses[step] for step in sorted(losses)]),
        events=tuple(sorted(events, key=lambda event: event.step)),
        rank_norms=_ragged([[ranks.get((rank, step)) for rank in numbers] for step in steps]),
        activation_layers=tuple(layers),
        activation_steps=np.array(seen, dtype=np.int64),
        activation_norms=_table(
            [[activations[step].get(name) for name in layers] for step in seen], len(layers)
        ),
        source=source,
    )


def records_of(path: Path) -> list[dict[str, Any]]:
    """Read the records of a run directory; there are none yet if it has no such file."""
    log = path / LOG
    return [record for _, record in read_lines(log)] if os.path.lexists(log) else []


def _ranks(path: Path) -> Iterator[_Record]:
    """Read what each process of a parallel training wrote of its own gradients."""
    for place, file in enumerate(sorted(path.glob("rank_*.jsonl"))):
        for _, record in read_lines(file):
            yield {**record, "kind": "rank", "rank": place}


def _read_header(path: Path) -> tuple[ParameterInfo, ...]:
    file = path / HEADER
    try:
        header = read_json(file, error=RunDirectoryError)
        found = header["format"]
        if found == FORMAT:
            return tuple(_parameter(entry) for entry in header["parameters"])
    except (RunDirectoryError, ValueError, OverflowError, KeyError, TypeError) as error:
        raise RunDirectoryError(
            f"{quoted(file)} is damaged: it does not say which parameters were watched."
        ) from error
    raise RunDirectoryError(
        f"{quoted(file)} has format {quoted(found)}, and this version of backlight reads "
        f"{FORMAT}; update backlight."
    )


def _parameter(entry: Mapping[str, Any]) -> ParameterInfo:
    layer = entry["layer"]
    return ParameterInfo(
        name=str(entry["name"]),
        module=str(entry["module"]),
        kind=str(entry["kind"]),
        shape=tuple(int(size) for size in entry["shape"]),
        numel=int(entry["numel"]),
        layer=None if layer is None else int(layer),
        depth=int(entry["depth"]),
        trainable=bool(entry["trainable"]),
        elsewhere=bool(entry.get("elsewhere", False)),
        since=int(entry.get("since", 0)),
        until=int(entry.get("until", 0)),
    )


def _event(record: _Record) -> Event:
    def text(name: str) -> str | None:
        return None if record.get(name) is None else str(record[name])

    return Event(
        step=_step(record["step"]),
        what=str(record["what"]),
        where=text("where") or "unknown",
        module=text("module"),
        parameter=text("parameter"),
        snapshot=text("snapshot"),
        text=text("text") or "",
    )


def _number(value: object) -> float:
    """Read a number; null, which stands for what is not known, is NaN."""
    number = decode_number(value)
    if number is None and value is not None:
        raise ValueError(f"{quoted(value)} is no number")
    return float("nan") if number is None else number


def _step(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_STEPS:
        raise ValueError(f"{quoted(value)} is no step")
    return value


def _column(values: Sequence[object]) -> NDArray[np.float64]:
    return np.array([_number(value) for value in values], dtype=np.float64)


def _padded(row: Sequence[object], least: int, width: int) -> list[object]:
    """Fill a row up that was written before the last parameters came."""
    return [*row, *[None] * (width - len(row))] if least <= len(row) < width else list(row)


def _table(rows: Sequence[Sequence[object]], width: int) -> NDArray[np.float64]:
    wrong = next((len(row) for row in rows if len(row) != width), None)
    if wrong is not None:
        raise ValueError(f"{wrong} numbers for {width} names")
    values = [[_number(value) for value in row] for row in rows]
    return np.array(values, dtype=np.float64).reshape(len(rows), width)


def _statistic(name: str, rows: Sequence[Sequence[object]], width: int) -> NDArray[np.float64]:
    table = _table(rows, width)
    return table if name == "mean" else _sizes(name, table)


def _sizes(name: str, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Refuse numbers below zero among those that can have none."""
    if (numbers < 0).any():
        raise ValueError(f"{name} is negative")
    return numbers


def _ragged(rows: Sequence[Sequence[object]]) -> NDArray[np.float64]:
    """Lay rows out as a table; NaN where a row is shorter than the longest."""
    table = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    for place, row in enumerate(rows):
        table[place, : len(row)] = [_number(value) for value in row]
    return table
