"""Rows out of what is handed over in Python: texts, token ids, tables, datasets."""

import io
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from backlight.data.given import Given
from backlight.data.rows import Row, field_of, ids_of, ids_of_mapping, one_row
from backlight.errors import DatasetError, quoted

_KINDS = (
    "Give a list of texts, a datasets.Dataset, a table with a column of texts, or token ids: a "
    "list of lists, or one long list."
)
_HERE = "the dataset"


def read_given(
    given: Given, *, text_column: str, split: str, passage_length: int | None
) -> Iterator[Row]:
    """Read what was handed over, no further than rows are asked for.

    Args:
        given: Texts; records with a field of text, such as a ``datasets.Dataset``; a table of
            pandas, polars or pyarrow with such a column; a mapping of columns or of splits; token
            ids, as lists, arrays or tensors, a row for each passage; one long row of token ids.
        text_column: The field or column of the texts.
        split: Which one, if there are splits.
        passage_length: Where one long row of token ids is cut into passages; None for nowhere.

    Yields:
        The rows. Records and mappings that have no text but ``input_ids`` give these, without what
        ``attention_mask`` calls pads.

    Raises:
        DatasetError: If it holds something else.
    """
    source = _column(given.source, text_column, split)
    if isinstance(source, (str, bytes, io.IOBase, set, frozenset, PathLike)):
        raise DatasetError(f"A {type(source).__name__} is no dataset that can be read. {_KINDS}")
    if isinstance(source, np.ndarray) and source.ndim == 0:
        raise DatasetError(f"A single number is no dataset. {_KINDS}")
    try:
        values = iter(source)  # also what has numbered items alone
    except TypeError as error:
        raise DatasetError(f"{type(source).__name__} is no dataset. {_KINDS}") from error
    items = given.items(values)
    first = list(islice(items, 1))
    items = chain(first, items)
    if first and _is_number(first[0]):
        yield from _stream(source, items, passage_length)
        return
    for number, item in enumerate(items):
        yield from _rows(item, text_column, f"row {number} of {_HERE}")
        if number == 0:
            _refuse_names_of_files(item)


def _column(source: Any, text_column: str, split: str) -> Any:
    """Choose what has the rows: a column of a table, or one of several splits."""
    if isinstance(source, Mapping):
        if text_column in source:
            return source[text_column]
        if "input_ids" in source:
            return ids_of_mapping(source, _HERE)
        if split in source:
            return _column(source[split], text_column, split)
        told = ", ".join(quoted(key) for key in list(source)[:12]) or "nothing"
        raise DatasetError(
            f"The dataset is a mapping of {told[:400]}, without {quoted(text_column)}. Name the "
            "column of the texts with text_column, or one of several splits with split."
        )
    if hasattr(source, "to_pylist"):  # a table or a column of pyarrow
        return source.to_pylist()
    # Going through a table of pandas or polars gives columns, not rows.
    if hasattr(source, "columns") and not isinstance(source, np.ndarray):
        names = [str(name) for name in source.columns]
        if text_column not in names and "input_ids" in names:
            return source["input_ids"]
        field_of(dict.fromkeys(names, ""), text_column, _HERE)  # says which columns there are
        return source[text_column]
    return source


def _rows(item: Any, text_column: str, where: str) -> Iterator[Row]:
    if isinstance(item, str):
        yield str(item)
    elif isinstance(item, Mapping):
        several = item.get("input_ids") if text_column not in item else None
        if several is None:
            yield field_of(item, text_column, where)
        else:
            yield from ids_of_mapping(item, where)
    elif isinstance(item, tuple) and not _is_number(next(iter(item), 0)):
        # What data loaders give: a batch alone, or pairs, of which the other would be measured too.
        if len(item) > 1:
            raise DatasetError(
                f"{where.capitalize()} is a tuple of {len(item)}, such as (inputs, targets): give "
                "the token ids of the inputs alone."
            )
        for only in item:
            yield from _rows(only, text_column, where)
    else:
        ids = ids_of(item)
        if ids is not None and ids.ndim == 3 and len(ids) == 1:
            ids = ids[0]
        if ids is not None and ids.ndim == 2:  # a batch, as data loaders give
            yield from ids
        else:
            yield one_row(item, where.capitalize())


def _stream(source: Any, items: Iterable[Any], passage_length: int | None) -> Iterator[Row]:
    """Cut one long row of token ids into passages."""
    if hasattr(source, "tolist") and passage_length is not None:
        # Slices of an array, a tensor or a series are of its kind: none is copied as a whole.
        for start in range(0, len(source), passage_length):
            yield one_row(source[start : start + passage_length], _HERE.capitalize())
        return
    held: list[int] = []
    for number, item in enumerate(items):
        if not _is_number(item):
            raise DatasetError(
                f"The dataset holds token ids, but at {number} there is {type(item).__name__}."
            )
        held.append(int(item))
        if len(held) == passage_length:
            yield np.array(held, dtype=np.int64)
            held = []
    if held:
        yield np.array(held, dtype=np.int64)


def _is_number(item: Any) -> bool:
    ids = None if isinstance(item, (str, Mapping, bool)) else ids_of([item])
    return ids is not None and ids.ndim == 1 and ids.size == 1 and not isinstance(item, list)


def _refuse_names_of_files(item: Any) -> None:
    """Refuse a list of paths: their names would be measured as texts."""
    if isinstance(item, str) and len(item) < 4096 and "\n" not in item and "\0" not in item:
        looks_so = Path(item).suffix.lower() in (".txt", ".jsonl", ".json", ".csv", ".parquet")
        if looks_so and " " not in item.strip():
            raise DatasetError(
                f"The first text is {quoted(item)}, which is the name of a file. Give one path "
                "(dataset='a.txt'), or the texts themselves."
            )
