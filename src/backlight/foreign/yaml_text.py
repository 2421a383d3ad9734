"""YAML of strangers: no bombs, no duplicate keys, one sentence for whatever is wrong."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from backlight.errors import BacklightError, quoted
from backlight.foreign.documents import UNREADABLE, reason_of
from backlight.foreign.files import MEGABYTE, read_text

_DEEPEST = 64  # lists within lists
_MOST_VALUES = 1_000_000  # with every alias written out
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path, *, error: type[BacklightError], most: int = MEGABYTE) -> Any:
    """Read a YAML file.

    Args:
        path: The file.
        error: What is raised.
        most: How many bytes it may have.

    Returns:
        The plain values that it holds; None for an empty file.

    Raises:
        BacklightError: If it cannot be read, is too large, or is no YAML that unpacks sensibly.
    """
    return parse_yaml(read_text(path, error=error, most=most), quoted(path), error=error)


def parse_yaml(text: str, where: str, *, error: type[BacklightError]) -> Any:
    """Read YAML, after its aliases, its depth and its keys were looked at.

    Args:
        text: The YAML.
        where: Where it stands, for messages.
        error: What is raised.

    Returns:
        The plain values that it holds; None for an empty text.

    Raises:
        BacklightError: If it is no YAML, is nested too deeply, gives a key twice, or unpacks to
            too much.
    """
    try:
        complaint = _complaint(text)
        if complaint:
            raise error(f"{where} cannot be read as YAML: {complaint}.")
        return yaml.load(text, Loader=_Loader)  # a safe loader: plain values only
    except (yaml.YAMLError, *UNREADABLE) as reason:
        raise error(f"{where} cannot be read as YAML: {reason_of(reason)}.") from reason


@dataclass(slots=True)
class _Open:
    """A list or mapping of YAML that has begun and not yet ended."""

    is_mapping: bool
    anchor: str | None
    size: int = 1
    num_children: int = 0
    keys: set[str] = field(default_factory=set[str])


def _complaint(text: str) -> str:
    """Find what is wrong with YAML before anything is built from it.

    Only the words are walked through. An alias counts as many values as what it stands for, which
    is known by then, so a bomb of aliases (each ten times the one before) costs no more than its
    text.

    Args:
        text: The YAML.

    Returns:
        The end of a sentence; empty if nothing is wrong.
    """
    sizes: dict[str, int] = {}
    levels: list[_Open] = [_Open(is_mapping=False, anchor=None)]
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            if len(levels) > _DEEPEST:
                return f"it is nested more than {_DEEPEST} levels deep"
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            levels.append(_Open(is_mapping=is_mapping, anchor=event.anchor))
        elif isinstance(event, yaml.AliasEvent) and event.anchor not in sizes:
            return f"the alias {quoted(event.anchor)} means nothing, or what it stands in"
        elif isinstance(event, (yaml.NodeEvent, yaml.CollectionEndEvent)):
            complaint = _add(event, levels, sizes)
            if complaint:
                return complaint
    return ""


def _add(event: yaml.Event, levels: list[_Open], sizes: dict[str, int]) -> str:
    """Count a value that is complete into the list or mapping that it stands in."""
    anchor: Any = getattr(event, "anchor", None)
    size = sizes[anchor] if isinstance(event, yaml.AliasEvent) else 1
    if isinstance(event, yaml.CollectionEndEvent):
        closed = levels.pop()
        anchor, size = closed.anchor, closed.size
    level = levels[-1]
    if isinstance(event, yaml.ScalarEvent) and level.is_mapping and level.num_children % 2 == 0:
        if event.value in level.keys:
            return f"the key {quoted(event.value)} is there twice"
        level.keys.add(event.value)
    if anchor is not None:
        sizes[anchor] = size
    level.size += size
    level.num_children += 1
    if level.size > _MOST_VALUES:
        return f"with its aliases written out it holds more than {_MOST_VALUES:,} values"
    return ""
