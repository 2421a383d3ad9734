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
    """Say what is wrong with YAML before anything is built from it; empty if nothing is.

    Only the words are walked through, so that a bomb of aliases costs no more than its text.

    Args:
        text: The YAML.

    Returns:
        The end of a sentence.
    """
    sizes: dict[str, int] = {}
    levels: list[_Open] = [_Open(is_mapping=False, anchor=None)]
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            if len(levels) > _DEEPEST:
                return f"it is nested more than {_DEEPEST} levels deep"
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            levels.append(_Open(is_mapping=is_mapping, anchor=event.anchor))
            continue
        if isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            closed = levels.pop()
            anchor, size = closed.anchor, closed.size
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
            twice = _repeated_key(levels[-1], event.value)
            if twice:
                return twice
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                return f"the alias {quoted(event.anchor)} means nothing, or what it stands in"
            anchor, size = None, sizes[event.anchor]
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        levels[-1].size += size
        levels[-1].num_children += 1
        if levels[-1].size > _MOST_VALUES:
            return f"with its aliases written out it holds more than {_MOST_VALUES:,} values"
    return ""


def _repeated_key(level: _Open, value: str) -> str:
    if not level.is_mapping or level.num_children % 2:
        return ""
    if value in level.keys:
        return f"the key {quoted(value)} is there twice"
    level.keys.add(value)
    return ""
