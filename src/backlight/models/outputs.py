"""What a module gives: a tensor, or something that holds tensors."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, cast

from torch import Tensor

Member = str | int | None
"""Which part of an output: a key, a field or a place; None for an output that is a tensor."""


def members(output: object) -> Iterator[tuple[Member, Tensor]]:
    """Find the tensors that an output is or holds; what lies deeper is left alone."""
    if isinstance(output, Tensor):
        yield None, output
        return
    for name, value in _parts(output):
        if isinstance(value, Tensor):
            yield name, value


def member_of(output: object, member: Member) -> object:
    """Take one part of an output.

    Args:
        output: What a module gave.
        member: Which part.

    Returns:
        The part, None if there is none of that name.
    """
    if member is None:
        return output
    return dict(_parts(output)).get(member)


def with_member(output: Any, member: Member, tensor: Tensor) -> Any:
    """Put a tensor in the place of one part of an output; the output itself is not changed.

    Args:
        output: What a module gave.
        member: Which part.
        tensor: What takes its place.

    Returns:
        An output of the same kind.
    """
    if member is None:
        return tensor
    if isinstance(output, tuple):
        parts = cast("tuple[Any, ...]", output)
        place = cast("int", member)
        replaced = (*parts[:place], tensor, *parts[place + 1 :])
        # A named tuple takes its parts one by one.
        return type(output)(*replaced) if hasattr(output, "_fields") else replaced
    changed = copy.copy(output)
    if isinstance(output, list | Mapping):
        changed[member] = tensor
    else:
        object.__setattr__(changed, cast("str", member), tensor)  # a dataclass may be frozen
    return changed


def _parts(output: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(output, Mapping):
        yield from cast("Mapping[str, object]", output).items()
    elif isinstance(output, tuple | list):
        yield from enumerate(cast("tuple[object, ...]", output))
    elif dataclasses.is_dataclass(output):
        for field in dataclasses.fields(output):
            yield field.name, getattr(output, field.name)
    elif hasattr(output, "__dict__"):
        yield from vars(output).items()
