"""Rows out of parquet files."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from backlight.data.rows import Row, field_of
from backlight.errors import DatasetError, quoted
from backlight.foreign.files import check_file

_IDS, _MASK = "input_ids", "attention_mask"


def read_parquet(path: Path, text_column: str) -> Iterator[Row]:
    """Read the texts of one column.

    Args:
        path: The file.
        text_column: The column; a file without it, but with ``input_ids``, holds token ids.

    Yields:
        The rows.

    Raises:
        DatasetError: If pyarrow is missing, the file is damaged, or has no such column of text.
    """
    where = quoted(path)
    for record in parquet_records(path, lambda names: _columns(names, text_column, where)):
        yield field_of(record, text_column, where)


def parquet_records(
    path: Path, choose: Callable[[Sequence[str]], Sequence[str]]
) -> Iterator[dict[str, Any]]:
    """Read some columns.

    Args:
        path: The file.
        choose: Which, given the names of all.

    Yields:
        The rows.

    Raises:
        DatasetError: If pyarrow is missing, the file is damaged, or has a chosen column twice.
    """
    check_file(path, error=DatasetError)
    if importlib.util.find_spec("pyarrow") is None:
        raise DatasetError("Reading .parquet needs pyarrow: pip install 'backlight[data]'")
    import pyarrow as arrow
    from pyarrow import parquet

    where = quoted(path)
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            names = list(file.schema_arrow.names)
            columns = list(choose(names))
            for name in columns:
                if names.count(name) > 1:
                    raise DatasetError(f"{where} has two columns {quoted(name)}.")
            for group in file.iter_batches(columns=columns, batch_size=1024):
                yield from group.to_pylist()
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
