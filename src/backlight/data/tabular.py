"""Rows with columns: out of files, the hub, and data in memory."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from backlight.data.delimited import read_cells
from backlight.data.given import Given
from backlight.data.hub import hub_records
from backlight.data.parquet import parquet_records
from backlight.data.records import json_values
from backlight.data.sources import kind_of, refuse_memory, refuse_what_is_no_id
from backlight.errors import DatasetError, quoted
from backlight.foreign.files import expanded

Placed: TypeAlias = tuple[str, Mapping[str, Any]]
"""Where a row stands, for messages, and its values by column."""

_PLAIN = ("shakespeare", "wikitext")
_HERE = "the dataset"


def read_table(dataset: str, columns: Collection[str], *, split: str) -> Iterator[Placed]:
    """Read the rows of a dataset that has columns, no further than they are asked for.

    Args:
        dataset: The path of a file (``.jsonl``, ``.json``, ``.csv``, ``.tsv``, ``.parquet``), the
            id of a dataset on the hub, or data in memory: a list of mappings, a
            ``datasets.Dataset``, a table of pandas, polars or pyarrow, a mapping of columns or of
            splits.
        columns: Those that are looked for; of a file with many columns no other is read.
        split: The split of a dataset that has some.

    Returns:
        The rows.

    Raises:
        DatasetError: If there is no such dataset, it has no columns, or it cannot be read.
    """
    if isinstance(dataset, Given):
        return _given(dataset, columns, split)
    refuse_memory(dataset)
    kind = kind_of(dataset)
    if dataset in _PLAIN or kind == ".txt":
        raise DatasetError(
            f"{quoted(dataset)} is plain text, without columns, so there is no telling a prompt "
            "from a completion. Give .jsonl, .json, .csv, .tsv, .parquet, a dataset of the hub, or "
            "in Python a list of mappings."
        )
    if kind is None:
        refuse_what_is_no_id(dataset)
        return ((quoted(dataset), row) for row in hub_records(dataset, None, split=split))
    return _of_file(dataset, kind, columns)


def _of_file(dataset: str, kind: str, columns: Collection[str]) -> Iterator[Placed]:
    path = expanded(dataset, error=DatasetError)
    where = quoted(path)
    if kind == ".parquet":

        def wanted(names: Sequence[str]) -> Sequence[str]:
            return [name for name in names if name in columns] or names

        for number, row in enumerate(parquet_records(path, wanted), start=1):
            yield f"row {number} of {where}", row
    elif kind in (".csv", ".tsv"):
        for number, cells in read_cells(path, columns):
            yield f"line {number} of {where}", cells
    else:
        for place, value in json_values(path, columns):
            yield place, _record(value, place)


def _given(given: Given, columns: Collection[str], split: str) -> Iterator[Placed]:
    for number, row in enumerate(given.items(_rows_of(given.source, columns, split))):
        where = f"row {number} of {_HERE}"
        yield where, _record(row, where)


def _rows_of(source: Any, columns: Collection[str], split: str) -> Iterable[Any]:
    """Find what has the rows: of a table, of columns by name, or of one of several splits."""
    if isinstance(source, Mapping):
        if any(name in source for name in columns):
            return _beside(source, list(source))
        if split in source:
            return _rows_of(source[split], columns, split)
        told = ", ".join(quoted(key) for key in list(source)[:12]) or "nothing"
        raise DatasetError(
            f"The dataset is a mapping of {told[:400]}, without any of "
            f"{', '.join(map(quoted, columns))}. Name the columns with completion_columns, or one "
            "of several splits with split."
        )
    if hasattr(source, "to_pylist"):  # a table of pyarrow
        return source.to_pylist()
    if hasattr(source, "columns"):  # of pandas or polars, or records out of which a row is read
        names = [str(name) for name in source.columns]
        return _beside(source, [name for name in names if name in columns] or names)
    if isinstance(source, (str, bytes)) or not isinstance(source, Iterable):
        raise DatasetError(
            f"A {type(source).__name__} is no dataset with columns. Give a list of mappings, a "
            "datasets.Dataset, or a table."
        )
    return source


def _beside(source: Any, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Make rows of columns."""
    columns = {name: list(source[name]) for name in names}
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        raise DatasetError(f"The columns of the dataset differ in length: {quoted(sizes)}.")
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(names, values, strict=True))


def _record(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DatasetError(
            f"{where[0].upper()}{where[1:]} is {type(value).__name__}, not a mapping of columns."
        )
    return value
