"""Rows out of JSON: an object or a text on each line, or one array of them."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from backlight.data.lines import read_lines, read_whole, split_lines, text_chunks
from backlight.data.rows import Row, field_of, one_row
from backlight.errors import DatasetError, quoted

__all__ = ["read_json_document", "read_json_lines", "read_objects"]


def read_json_lines(path: Path, text_column: str) -> Iterator[Row]:
    """Read JSON lines: on each an object with a field of text, or a text alone.

    Args:
        path: The file.
        text_column: The field.

    Returns:
        The rows, one after another; blank lines are none.

    Raises:
        DatasetError: If a line is no JSON, or holds no such field.
    """
    return _of_lines(read_lines(path), path, text_column)


def read_json_document(path: Path, text_column: str) -> Iterator[Row]:
    """Read a ``.json`` file: an array of objects or texts, or, as many write them, JSON lines.

    Args:
        path: The file.
        text_column: The field of the objects.

    Yields:
        The rows.

    Raises:
        DatasetError: If it is no JSON, or a row holds no such field.
    """
    chunks = text_chunks(path)
    first = next((chunk for chunk in chunks if chunk.strip(" \t\n\ufeff")), "")
    if not first.lstrip(" \t\n\ufeff").startswith("["):
        yield from _of_lines(split_lines(chain([first], chunks), path), path, text_column)
        return
    items = _parsed(read_whole(path), quoted(path))
    for number, item in enumerate(items, start=1):
        yield _row(item, text_column, f"row {number} of {quoted(path)}")


def read_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the objects of a file of JSON lines, or of one JSON array.

    Args:
        path: The file.

    Yields:
        Where each stands, for messages, and the object.

    Raises:
        DatasetError: If it is no JSON, or something in it is no object.
    """
    text = read_whole(path)
    if text.lstrip().startswith("["):
        found: Iterable[Any] = _parsed(text, quoted(path))
        placed = [(f"row {n} of {quoted(path)}", item) for n, item in enumerate(found, start=1)]
    else:
        placed = [
            (where, _parsed(line, where.capitalize()))
            for number, line in enumerate(text.split("\n"), start=1)
            if line.strip() and (where := f"line {number} of {quoted(path)}")
        ]
    for where, item in placed:
        if not isinstance(item, dict):
            raise DatasetError(f"There is {type(item).__name__} in {where}, not an object.")
        yield where, item


def _of_lines(lines: Iterable[str], path: Path, text_column: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"line {number} of {quoted(path)}"
            yield _row(_parsed(line, f"Line {number} of {quoted(path)}"), text_column, where)


def _row(item: Any, text_column: str, where: str) -> Row:
    if isinstance(item, str):
        return one_row(item, where)
    return field_of(item if isinstance(item, dict) else {}, text_column, where)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise DatasetError(f"{where} is not JSON: {error}.") from error
    except ValueError as error:  # a key twice, or a number of more digits than Python reads
        raise DatasetError(f"{where} is not JSON: {str(error)[:200]}.") from error
    except RecursionError as error:
        raise DatasetError(f"{where} is not JSON: it is nested too deeply.") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {quoted(twice)} is there twice")
    return found
