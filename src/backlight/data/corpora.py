"""Where text comes from: the shipped plays, files on disk, and datasets of the hub."""

import gzip
import importlib.util
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from backlight.errors import DatasetError

__all__ = ["MIN_CHARACTERS", "read_rows"]

MIN_CHARACTERS = 50
"""A row counts if, stripped of white space, it is longer than this."""

_WIKITEXT = ("Salesforce/wikitext", "wikitext-2-raw-v1")
_SUFFIXES = (".txt", ".jsonl", ".jsonl.gz", ".parquet")


def read_rows(
    dataset: str, *, num_samples: int, text_column: str = "text", split: str = "train"
) -> list[str]:
    """Read the first rows of a corpus that are long enough to measure on.

    Args:
        dataset: ``shakespeare`` (12 plays, shipped; a row is a paragraph), ``wikitext``
            (wikitext-2-raw-v1), the path of a ``.txt`` (a row is a line), ``.jsonl``,
            ``.jsonl.gz`` or ``.parquet`` file, or the id of a dataset on the hub.
        num_samples: How many rows to read; fewer if there are fewer.
        text_column: The field that holds the text, where rows have fields.
        split: The split of a dataset from the hub.

    Returns:
        Rows of which more than 50 characters are left when white space around them is stripped.

    Raises:
        DatasetError: If the text cannot be found or read, or no row is long enough.
    """
    num_rows = 0

    def long_enough(row: str) -> bool:
        nonlocal num_rows
        num_rows += 1
        return len(row.strip()) > MIN_CHARACTERS

    rows = list(islice(filter(long_enough, _open(dataset, text_column, split)), num_samples))
    if not num_rows:
        raise DatasetError(f"The dataset {dataset!r} is empty: it has no rows.")
    if not rows:
        raise DatasetError(
            f"None of the {num_rows} rows of {dataset!r} is longer than {MIN_CHARACTERS} "
            "characters, so there is nothing to measure on."
        )
    return rows


def _open(dataset: str, text_column: str, split: str) -> Iterator[str]:
    if dataset == "shakespeare":
        return _shakespeare()
    if dataset == "wikitext":
        return _hub_rows(*_WIKITEXT, text_column=text_column, split=split)
    suffix = next((end for end in _SUFFIXES if dataset.endswith(end)), None)
    if suffix is not None:
        return _file_rows(Path(dataset).expanduser(), suffix, text_column)
    if Path(dataset).exists():
        raise DatasetError(
            f"{dataset!r} is no text that backlight reads: its name must end in "
            f"{', '.join(_SUFFIXES)}."
        )
    return _hub_rows(dataset, None, text_column=text_column, split=split)


def _shakespeare() -> Iterator[str]:
    packed = files("backlight.data").joinpath("shakespeare_plays.txt.gz").read_bytes()
    for paragraph in gzip.decompress(packed).decode("ascii").split("\n\n"):
        yield paragraph.strip("\n")


def _file_rows(path: Path, suffix: str, text_column: str) -> Iterator[str]:
    if not path.is_file():
        raise DatasetError(f"There is no file {str(path)!r}.")
    readers: dict[str, Callable[[], Iterator[str]]] = {
        ".txt": lambda: _lines(path),
        ".jsonl": lambda: _json_rows(_lines(path), path, text_column),
        ".jsonl.gz": lambda: _json_rows(_lines(path, gzip.open), path, text_column),
        ".parquet": lambda: _parquet_rows(path, text_column),
    }
    return readers[suffix]()


def _lines(path: Path, opener: Callable[..., Any] = open) -> Iterator[str]:
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{str(path)!r} is not UTF-8 text (byte {error.start}); convert it first."
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DatasetError(f"{str(path)!r} is not a whole gzip file: {error}.") from error


def _json_rows(lines: Iterable[str], path: Path, text_column: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DatasetError(f"Line {number} of {str(path)!r} is not JSON: {error}.") from error
        fields = record if isinstance(record, dict) else {}
        yield _text_of(fields, text_column, f"line {number} of {str(path)!r}")


def _parquet_rows(path: Path, text_column: str) -> Iterator[str]:
    if importlib.util.find_spec("pyarrow") is None:
        raise DatasetError("Reading .parquet needs pyarrow: pip install 'backlight[data]'")
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except arrow.ArrowInvalid as error:
        raise DatasetError(f"{str(path)!r} is not a parquet file: {error}.") from error
    known = dict.fromkeys(file.schema_arrow.names)
    if text_column not in known:
        _text_of(known, text_column, repr(str(path)))
    for group in file.iter_batches(columns=[text_column]):
        for text in group.column(0).to_pylist():
            yield _text_of({text_column: text}, text_column, repr(str(path)))


def _hub_rows(dataset: str, subset: str | None, *, text_column: str, split: str) -> Iterator[str]:
    if importlib.util.find_spec("datasets") is None:
        raise DatasetError(
            f"The dataset {dataset!r} comes from the hub, which needs another package: pip install "
            "'backlight[data]'. Without: --dataset shakespeare, or the path of a text file."
        )
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    try:
        rows = load_dataset(dataset, subset, split=split)
    except (ConnectionError, DatasetNotFoundError, FileNotFoundError) as error:
        raise DatasetError(
            f"The dataset {dataset!r} is neither in the local cache nor could it be fetched from "
            "the hub. Check the name and the network, or use --dataset shakespeare (shipped), or "
            "the path of a .txt or .jsonl file."
        ) from error
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise DatasetError(f"The dataset {dataset!r} cannot be read: {reason}") from error
    for row in rows:
        yield _text_of(dict(row), text_column, repr(dataset))


def _text_of(fields: dict[str, Any], text_column: str, where: str) -> str:
    if text_column not in fields:
        raise DatasetError(
            f"There is no field {text_column!r} in {where}, only "
            f"{', '.join(map(repr, fields)) or 'none'}. Name it with --text_column."
        )
    text = fields[text_column]
    if not isinstance(text, str):
        raise DatasetError(
            f"The field {text_column!r} in {where} holds {type(text).__name__}, not text."
        )
    return text
