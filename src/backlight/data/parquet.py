"""Rows out of parquet files."""

import importlib.util
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from backlight.data.rows import Row, field_of
from backlight.errors import DatasetError, quoted
from backlight.foreign.files import check_file

_IDS, _MASK = "input_ids", "attention_mask"
_ROWS = 1024  # that are decoded at once
_BUFFER = 2**20  # bytes: a column of a row group may be larger than memory


def read_parquet(path: Path, text_column: str, *, draws: int | None = None) -> Iterator[Row]:
    """Read the texts of one column, one row group after another, as far as rows are asked for.

    Args:
        path: The file.
        text_column: The column; a file without it, but with ``input_ids``, holds token ids.
        draws: A seed that draws the order of the row groups; None for that of the file.

    Yields:
        The rows.

    Raises:
        DatasetError: If pyarrow is missing, the file is damaged, or has no such column of text.
    """
    where = quoted(path)
    columns = partial(_columns, text_column=text_column, where=where)
    for record in parquet_records(path, columns, draws=draws):
        yield field_of(record, text_column, where)


def num_groups(path: Path) -> int:
    """Count the row groups of a file.

    Args:
        path: The file.

    Returns:
        How many there are.

    Raises:
        DatasetError: If pyarrow is missing, or the file is damaged.
    """
    with _opened(path) as file:
        return file.num_row_groups


def parquet_records(
    path: Path,
    choose: Callable[[Sequence[str]], Sequence[str]],
    *,
    draws: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Read some columns, a row group at a time.

    Args:
        path: The file.
        choose: Which, given the names of all.
        draws: A seed that draws the order of the row groups; None for that of the file.

    Yields:
        The rows.

    Raises:
        DatasetError: If pyarrow is missing, the file is damaged, or has a chosen column twice.
    """
    where = quoted(path)
    with _opened(path) as file:
        names = list(file.schema_arrow.names)
        columns = list(choose(names))
        for name in columns:
            if names.count(name) > 1:
                raise DatasetError(f"{where} has two columns {quoted(name)}.")
        groups = range(file.num_row_groups)
        order = groups if draws is None else np.random.default_rng(draws).permutation(groups)
        for group in order:
            read = file.iter_batches(columns=columns, batch_size=_ROWS, row_groups=[int(group)])
            for rows in read:
                yield from rows.to_pylist()


@contextmanager
def _opened(path: Path) -> Generator[Any, None, None]:
    """Open a file; whatever is wrong with it then, or is found later, is told in one line."""
    check_file(path, error=DatasetError)
    if importlib.util.find_spec("pyarrow") is None:
        raise DatasetError("Reading .parquet needs pyarrow: pip install 'backlight[data]'")
    import pyarrow as arrow
    from pyarrow import parquet

    where = quoted(path)
    try:
        with parquet.ParquetFile(
            path, page_checksum_verification=True, pre_buffer=False, buffer_size=_BUFFER
        ) as file:
            yield file
    # What damaged files raise is of many kinds: also of unknown types, text that is not UTF-8, and
    # sizes for which no memory is there.
    except (arrow.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError) as error:
        reason = quoted(" ".join(str(error).split()))
        raise DatasetError(f"{where} is not a parquet file, or damaged: {reason}.") from error


def _columns(names: Sequence[str], text_column: str, where: str) -> list[str]:
    if text_column in names:
        return [text_column]
    if _IDS in names:
        return [name for name in (_IDS, _MASK) if name in names]
    no_rows: dict[str, Any] = dict.fromkeys(names)
    field_of(no_rows, text_column, where)  # says which columns there are
    return []
