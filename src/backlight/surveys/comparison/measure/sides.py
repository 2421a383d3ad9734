"""What a run says of its units, with errors: layer by layer, whatever survey it is of."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import ConfigError, RunDirectoryError, quoted
from backlight.stats.contrast import Estimates, Groups, estimates_of
from backlight.surveys.driver.words.aggregation import modes_of
from backlight.tables import Table

Key = tuple[str, str, int]
"""A kind of units, the statistic, and the layer (-1: of none)."""

ReadGroups = Callable[[str, NDArray[np.int64]], Groups]
"""Reads sums over groups of passages: of a column, of some rows of its table."""

NO_NUMBER = -1
"""Of a unit without a number, or of no layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Some units of one run, of one kind and layer.

    Attributes:
        index: The number of each, such as of a dimension; -1 if it has none.
        name: What each is called; empty if a number is enough.
        estimates: What the run says of them.
        unit: The unit of that.
        groups: Reads sums over groups of passages, if the run keeps them.
    """

    index: NDArray[np.int64]
    name: NDArray[Any]
    estimates: Estimates
    unit: str
    groups: Callable[[], Groups] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that is compared.

    Attributes:
        command: What it is a run of.
        label: What it is called.
        tables: Its tables, by name.
        statistics: Its features' own numbers, if it has any.
        config: Its options.
        groups: Reads the sums over groups of passages of a layer, or of a table of ``flow``; None
            if the run keeps none.
        data: Its arrays, by name.
        tokens: A hash of the passages' tokens; None if it is not known.
    """

    command: str
    label: str
    tables: Mapping[str, Table]
    statistics: Mapping[str, NDArray[Any]]
    config: Mapping[str, Any]
    groups: Callable[[int | str], Mapping[str, NDArray[Any]]] | None = None
    data: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    tokens: str | None = None


def sides_of(run: Run, statistics: Sequence[str]) -> dict[Key, Side]:
    """List what a run says of its units.

    Args:
        run: The run.
        statistics: What is wanted.

    Returns:
        The units, by kind, statistic and layer.

    Raises:
        ConfigError: If the run has no such statistic with a standard error.
        RunDirectoryError: If its tables are not those of such a run.
    """
    _refuse_unknown(run, statistics)
    return dict(_READERS[run.command](run, statistics))


def known_statistics(run: Run) -> tuple[str, ...]:
    """List the statistics of a run that have standard errors, so that they can be compared."""
    if run.command == "sae":
        names = dict.fromkeys(
            name.split("_", 2)[2] for name in run.statistics if name.startswith("layer_")
        )
        return tuple(name for name in names if f"{name}_se" in names)
    names = [name for name, *_ in _TABLES[run.command] if name in run.tables]
    tables = [run.tables[name] for name in names]
    sure = [name for table in tables for name in table if f"{name}_se" in table]
    return tuple(dict.fromkeys([*sure, *grouped_statistics(run)]))


def grouped_statistics(run: Run) -> tuple[str, ...]:
    """List the modes of which a run of ``layers`` or ``sae`` keeps sums over groups of passages."""
    has_modes = run.command in ("layers", "sae")
    return tuple(modes_of(run.config)) if has_modes and run.groups is not None else ()


def _refuse_unknown(run: Run, statistics: Sequence[str]) -> None:
    known = known_statistics(run)
    for name in statistics:
        if name not in known:
            raise ConfigError(
                f"The run {quoted(run.label)} has no {name} with a standard error, without which "
                f"nothing can be told of a difference. It has {', '.join(known) or 'none'}."
            )


def _groups(run: Run, statistic: str, layer: int) -> Callable[[], Groups] | None:
    """Say how to read the sums of a statistic over groups of passages, if the run keeps them."""
    read = run.groups
    if read is None or statistic not in modes_of(run.config):
        return None

    def found() -> Groups:
        sums = read(layer)
        if not {statistic, "below"} <= set(sums):
            raise RunDirectoryError(
                f"{quoted(run.label)}: the sums over groups of passages of layer {layer} lack "
                f"those of {statistic}. Measure again."
            )
        return Groups(
            above=sums[statistic],
            below=sums["below"],
            is_square=statistic == "rms",
        )

    return found


def _of_layers(run: Run, statistics: Sequence[str]) -> Iterator[tuple[Key, Side]]:
    table, layers = run.tables["dimensions"], run.tables["layers"]
    counts = dict(zip(layers["layer"].tolist(), layers["num_sequences"].tolist(), strict=True))
    for layer in counts:
        own = table.select(table["layer"] == layer)
        for name in statistics:
            groups = _groups(run, name, int(layer))
            yield (
                ("dimension", name, int(layer)),
                Side(
                    index=own["dimension"].astype(np.int64),
                    name=_no_names(own.num_rows),
                    estimates=_estimates(own[name], own[f"{name}_se"], counts[layer])
                    if groups is None or f"{name}_se" in own
                    else estimates_of(groups()),
                    unit=table.units.get(name, ""),
                    groups=groups,
                ),
            )


def _of_features(run: Run, statistics: Sequence[str]) -> Iterator[tuple[Key, Side]]:
    layers, found = run.tables["layers"], run.statistics
    counts = dict(zip(layers["layer"].tolist(), layers["num_sequences"].tolist(), strict=True))
    for layer, count in counts.items():
        clusters = found.get(f"layer_{layer}_num_passages", count)
        if run.config.get("active_only") and np.ndim(clusters) == 0:
            raise RunDirectoryError(
                f"{quoted(run.label)}: averages over the tokens at which "
                "features fire need to be compared with in how many passages each fires, which "
                "this run does not keep. Measure it again."
            )
        for name in statistics:
            value = found[f"layer_{layer}_{name}"]
            yield (
                ("feature", name, int(layer)),
                Side(
                    index=np.arange(len(value)),
                    name=_no_names(len(value)),
                    estimates=_estimates(value, found[f"layer_{layer}_{name}_se"], clusters),
                    unit=layers.units.get(name, ""),
                    groups=_groups(run, name, int(layer)),
                ),
            )


_TABLES: Mapping[str, Sequence[tuple[str, str, str, str]]] = {
    "layers": [("dimensions", "dimension", "dimension", "")],
    "flow": [
        ("attention", "head", "head", ""),
        ("residual", "half", "", "half"),
        ("norms", "norm", "head", "norm"),
        ("depth", "depth", "depth", "site"),
    ],
    "tokens": [("positions", "position", "head", "position")],
}
"""By command: the tables, the kind of their units, and the columns of number and name."""


def _of_flow(run: Run, statistics: Sequence[str]) -> Iterator[tuple[Key, Side]]:
    for name, kind, number, called in _TABLES["flow"]:
        if name in run.tables:
            table = run.tables[name]
            words = table[called] if called else _no_names(table.num_rows)
            named = _Rows(table=table, kind=kind, number=number, words=words, count="num_sequences")
            yield from _sides(named, statistics, _groups_of_table(run, name))


def _groups_of_table(run: Run, table: str) -> ReadGroups | None:
    """Say how to read the sums over groups of passages of some rows of a table of ``flow``."""
    if run.groups is None:
        return None
    read = cache(run.groups)

    def found(column: str, rows: NDArray[np.int64]) -> Groups:
        sums, num_rows = read(table), run.tables[table].num_rows
        is_square = f"{column}/square" in sums
        above, below = f"{column}/{'square' if is_square else 'above'}", f"{column}/below"
        if not {above, below} <= set(sums) or sums[above].shape[1:] != (num_rows,):
            raise RunDirectoryError(
                f"{quoted(run.label)}: the sums over groups of passages of the table {table} lack "
                f"those of {column}. Measure again."
            )
        return Groups(above=sums[above], below=sums[below], is_square=is_square).of(rows)

    return found


def _of_tokens(run: Run, statistics: Sequence[str]) -> Iterator[tuple[Key, Side]]:
    table = run.tables["positions"]
    words = np.array(
        [
            f"{position} at {site}"
            for position, site in zip(table["position"], table["site"], strict=True)
        ],
        dtype=object,
    )
    named = _Rows(table=table, kind="position", number="head", words=words, count="num_prompts")
    places = {f"{site}/{name}" for site in table["site"] for name in statistics}
    read = partial(_prompts, run) if places <= set(run.data) else None
    yield from _sides(named, statistics, read)


def _prompts(run: Run, measure: str, rows: NDArray[np.int64]) -> Groups:
    """Take what a run of ``tokens`` keeps of every prompt; each is a group of its own."""
    table = run.tables["positions"].select(rows)
    heads = _whole(table["head"]) - NO_NUMBER  # the whole vector is first
    places = zip(table["site"], heads, table["column"].astype(np.int64), strict=True)
    try:
        found = [run.data[f"{site}/{measure}"][:, head, column] for site, head, column in places]
    except IndexError as error:
        raise RunDirectoryError(
            f"{quoted(run.label)}: what is kept of the prompts lacks heads or positions that the "
            "table of positions names. Measure again."
        ) from error
    values = np.stack(found, axis=1)
    there = ~np.isnan(values)
    return Groups(above=np.where(there, values, 0.0), below=there.astype(np.float64))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """A table of units: their kind, the column of their numbers, their names, that of clusters."""

    table: Table
    kind: str
    number: str
    words: NDArray[Any]
    count: str


def _sides(
    rows: _Rows, statistics: Sequence[str], read: ReadGroups | None
) -> Iterator[tuple[Key, Side]]:
    """Take the rows of a table, layer by layer."""
    table, number = rows.table, rows.number
    layers = _whole(table["layer"]) if "layer" in table else np.full(table.num_rows, NO_NUMBER)
    numbers = _whole(table[number]) if number else np.full(table.num_rows, NO_NUMBER)
    for layer in np.unique(layers).tolist():
        own = np.flatnonzero(layers == layer)
        for name in statistics:
            if f"{name}_se" in table:
                yield (
                    (rows.kind, name, layer),
                    Side(
                        index=numbers[own],
                        name=rows.words[own],
                        estimates=_estimates(
                            table[name][own], table[f"{name}_se"][own], table[rows.count][own]
                        ),
                        unit=table.units.get(name, ""),
                        groups=None if read is None else partial(read, name, own),
                    ),
                )


def _whole(column: NDArray[Any]) -> NDArray[np.int64]:
    return np.nan_to_num(np.asarray(column, dtype=np.float64), nan=NO_NUMBER).astype(np.int64)


def _estimates(value: NDArray[Any], error: NDArray[Any], clusters: Any) -> Estimates:
    shape = np.shape(value)
    counted = np.broadcast_to(np.asarray(clusters, dtype=np.float64), shape)
    return Estimates(
        value=np.asarray(value, dtype=np.float64),
        error=np.asarray(error, dtype=np.float64),
        clusters=counted,
    )


def _no_names(count: int) -> NDArray[Any]:
    return np.full(count, "", dtype=object)


_READERS: Mapping[str, Callable[[Run, Sequence[str]], Iterator[tuple[Key, Side]]]] = {
    "layers": _of_layers,
    "sae": _of_features,
    "flow": _of_flow,
    "tokens": _of_tokens,
}
