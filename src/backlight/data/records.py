"""Rows out of JSON: an object or a text on each line, or one array of them."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, cast

from backlight.data.lines import read_lines, read_whole, split_lines, text_chunks
from backlight.data.rows import Row, field_of, one_row
from backlight.errors import DatasetError, quoted

_MOST_BLANK = 1000  # lines at the beginning of a file


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
    placed = _of_lines(read_lines(path), path)
    return (_row(item, text_column, where) for where, item in placed)


def read_json_document(path: Path, text_column: str) -> Iterator[Row]:
    """Read a ``.json`` file: one value, or, as many write them, JSON lines.

    Args:
        path: The file: an array of objects or texts; an object that holds one such array, or the
            list of the texts; or lines.
        text_column: The field of the objects.

    Yields:
        The rows.

    Raises:
        DatasetError: If it is no JSON, or a row holds no such field.
    """
    for where, item in _of_json(path, lambda value: _items(value, text_column)):
        yield _row(item, text_column, where)


def json_values(path: Path, columns: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Read the values of a file of JSON lines, of one JSON array, or one that holds an array.

    Args:
        path: The file.
        columns: An object with one of these fields is a row, also where it holds an array.

    Returns:
        Where each stands, for messages, and the value.

    Raises:
        DatasetError: If it is no JSON.
    """
    if ".jsonl" in path.name.lower():
        return _of_lines(read_lines(path), path)

    def rows(value: Any) -> Iterable[Any]:
        is_row = isinstance(value, dict) and any(name in value for name in columns)
        return [value] if is_row else _items(value, "")

    return _of_json(path, rows)


def read_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the objects of a file of JSON lines, of one JSON array, or one that holds an array.

    Args:
        path: The file.

    Yields:
        Where each stands, for messages, and the object.

    Raises:
        DatasetError: If it is no JSON, or something in it is no object.
    """
    text = read_whole(path)
    lines = text.split("\n")
    named_so = ".jsonl" in path.name.lower() and not text.lstrip().startswith("[")
    if named_so or _are_lines(_beginning(lines)):
        placed = _of_lines(lines, path)
    else:
        placed = _of_document(text, path, lambda value: _items(value, ""))
    for where, item in list(placed):  # what is no JSON is told before what is no object
        if not isinstance(item, dict):
            raise DatasetError(f"There is {type(item).__name__} in {where}, not an object.")
        yield where, item


def _beginning(lines: Iterable[str]) -> list[str]:
    """Return the first lines, up to where two of them are not blank."""
    taken: list[str] = []
    for line in lines:
        taken.append(line)
        if sum(bool(each.strip()) for each in taken[-2:]) == 2 or len(taken) == _MOST_BLANK:
            break
    return taken


def _are_lines(beginning: Sequence[str]) -> bool:
    """Distinguish lines that are an object each from one value that may fill the file."""
    filled = [line for line in beginning if line.strip()]
    if not filled or filled[0].lstrip().startswith("["):
        return not filled
    if len(filled) == 1:
        return False
    try:
        json.loads(filled[0])
    except (ValueError, RecursionError):
        return not filled[0].rstrip().endswith(("{", ",", "["))
    return True


def _items(value: Any, text_column: str) -> Iterable[Any]:
    """Find the rows in a document: its array, or the one array that its object holds."""
    if isinstance(value, list):
        return cast("list[Any]", value)
    if not isinstance(value, dict):
        return [value]
    found = cast("dict[str, Any]", value)
    if text_column in found:
        texts = found[text_column]
        if isinstance(texts, dict):  # pandas writes the numbers of rows with them
            return cast("dict[str, Any]", texts).values()
        several = isinstance(texts, list) and any(isinstance(text, str) for text in texts)
        return texts if several else [found]
    held = [each for each in found.values() if isinstance(each, list) and each]
    records = [each for each in held if isinstance(each[0], (dict, str))]
    return records[0] if len(records) == 1 and "input_ids" not in found else [found]


def _of_lines(lines: Iterable[str], path: Path) -> Iterator[tuple[str, Any]]:
    """Read the value on each line that is not blank, and where it stands."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"line {number} of {quoted(path)}"
            yield where, _parsed(line, f"L{where[1:]}")


def _of_json(path: Path, rows: Callable[[Any], Iterable[Any]]) -> Iterator[tuple[str, Any]]:
    """Read JSON lines, or one document, of which a function finds the rows."""
    chunks = text_chunks(path)
    first = next((chunk for chunk in chunks if chunk.strip(" \t\n\ufeff")), "")
    lines = split_lines(chain([first], chunks), path)
    beginning = _beginning(lines)
    if _are_lines(beginning):
        return _of_lines(chain(beginning, lines), path)
    return _of_document(read_whole(path), path, rows)


def _of_document(
    text: str, path: Path, rows: Callable[[Any], Iterable[Any]]
) -> Iterator[tuple[str, Any]]:
    for number, item in enumerate(rows(_parsed(text, quoted(path))), start=1):
        yield f"row {number} of {quoted(path)}", item


def _row(item: Any, text_column: str, where: str) -> Row:
    if isinstance(item, dict):
        return field_of(item, text_column, where)
    return one_row(item, where[0].upper() + where[1:])


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except ValueError as error:  # also a key twice, or a number of more digits than Python reads
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
