"""Rows of a corpus: text, or token ids that somebody else has made of it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
from jaxtyping import Int

from backlight.errors import DatasetError, quoted

Row: TypeAlias = str | Int[np.ndarray, " _"]
"""A text, or token ids."""

_IDS, _MASK = "input_ids", "attention_mask"
_NUM_NAMED = 12
_COMPLETIONS = (
    " `backlight layers`, `sae` and `flow` read pairs of prompt and completion, and chats, with "
    "--loss_on completion."
)


def one_row(value: object, where: str) -> Row:
    """Read a value as a row.

    Args:
        value: A text, or token ids: a list, an array or a tensor with one axis.
        where: What it is, for the message.

    Returns:
        The row; an empty text for what tables hold where there is none.

    Raises:
        DatasetError: If it is neither.
    """
    if isinstance(value, str):
        return str(value)
    if _is_nothing(value):
        return ""
    ids = ids_of(value)
    if ids is None or ids.ndim != 1:
        raise DatasetError(f"{where} holds {_kind(value)}, not text or token ids.{_advice(value)}")
    return ids


def ids_of(value: Any) -> Int[np.ndarray, " *shape"] | None:
    """Read token ids, of any number of axes; None if there is anything else.

    Args:
        value: Lists, arrays or tensors of whole numbers.

    Returns:
        The ids.
    """
    if isinstance(value, (str, bytes, Mapping)):
        return None
    if hasattr(value, "tolist") and not isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (Sequence, np.ndarray)):
        return None
    try:
        array = np.asarray(value)
        if array.size == 0:
            return array.astype(np.int64)
        if array.dtype.kind == "i" or (array.dtype.kind == "u" and array.max() < 2**63):
            return array.astype(np.int64)
    except (ValueError, TypeError, OverflowError):
        return None
    return None


def ids_of_mapping(fields: Mapping[Any, Any], where: str) -> list[Int[np.ndarray, " _"]]:
    """Read the token ids that a tokenizer gave, without those that its mask calls pads.

    Args:
        fields: ``input_ids``, of one passage or of several, perhaps with ``attention_mask``.
        where: What it is, for messages.

    Returns:
        The ids of each passage.

    Raises:
        DatasetError: If they are no ids, or the mask has another shape.
    """
    ids = _passages(fields[_IDS], f"{_IDS!r} of {where}")
    if fields.get(_MASK) is None:
        return ids
    masks = _passages(fields[_MASK], f"{_MASK!r} of {where}")
    if [len(row) for row in ids] != [len(row) for row in masks]:
        raise DatasetError(f"In {where}, {_IDS} and {_MASK} have not the same shape.")
    return [row[mask != 0] for row, mask in zip(ids, masks, strict=True)]


def field_of(fields: Mapping[Any, Any], text_column: str, where: str) -> Row:
    """Find the row that a record holds.

    Args:
        fields: The record.
        text_column: The field that holds the text.
        where: What it is, for messages.

    Returns:
        The row. A record without that field but with ``input_ids`` is taken for the ids that a
        tokenizer gave.

    Raises:
        DatasetError: If there is no such field, or it holds no text.
    """
    if text_column in fields:
        return one_row(fields[text_column], f"The field {quoted(text_column)} in {where}")
    if _IDS in fields:
        rows = ids_of_mapping(fields, where)
        if len(rows) == 1:
            return rows[0]
    names = list(fields)
    told = ", ".join(map(quoted, names[:_NUM_NAMED])) or "none"
    more = f", and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    raise DatasetError(
        f"There is no field {quoted(text_column)} in {where}, only {told[:400]}{more}. Name it "
        f"with --text_column.{_COMPLETIONS * _has_completions(fields)}"
    )


def _passages(value: Any, where: str) -> list[Int[np.ndarray, " _"]]:
    if hasattr(value, "tolist"):
        value = value.tolist()
    rows = list(value) if isinstance(value, Iterable) else [value]
    if not rows or isinstance(rows[0], (int, np.integer)):
        rows = [rows]
    found = [ids_of(row) for row in rows]
    read = [row for row in found if row is not None and row.ndim == 1]
    if len(read) < len(rows):
        raise DatasetError(f"{where} holds something else than token ids.")
    return read


def _is_nothing(value: object) -> bool:
    """Check whether a value is a null: None, the NaN of pandas, or its NA."""
    is_nan = isinstance(value, float) and math.isnan(value)
    return value is None or is_nan or type(value).__name__ == "NAType"


def _kind(value: object) -> str:
    name = type(value).__name__
    if isinstance(value, list) and value:
        return f"a list of {type(cast('list[object]', value)[0]).__name__}"
    return name


def _advice(value: object) -> str:
    """Return how a chat becomes a text, for the message; empty if the value is none."""
    first = cast("list[object]", value)[0] if isinstance(value, list) and value else None
    if not isinstance(first, Mapping) or not {"role", "content", "from", "value"} & set(first):
        return ""
    return (
        " A chat is made a text by its model's template: "
        f"tokenizer.apply_chat_template(messages, tokenize=False).{_COMPLETIONS}"
    )


def _has_completions(fields: Mapping[Any, Any]) -> bool:
    """Check whether a record looks like a pair of prompt and completion, or like a chat."""
    is_pair = "prompt" in fields and "completion" in fields
    return is_pair or "messages" in fields or "conversations" in fields
