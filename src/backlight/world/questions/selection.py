"""Patterns that choose cities: ``region:^(?!Atlantis).* && city_id:^[1-9][0-9]{3,}$``.

A pattern is ``column:regex``, or a regex alone, which is held against the region. It must match
from the start of the cell (``re.match``), not up to its end. Numbers are matched as they are
written without zeros in front, so that ``city_id:^[1-9][0-9]{3,}$`` takes the ids from 1000 up.
``&&`` narrows, ``||`` widens, and ``&&`` binds tighter; a list narrows like ``&&``, and
``{"AND": [...]}`` and ``{"OR": [...]}`` can be nested. An empty pattern takes every city.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import CityError, nearest, quoted
from backlight.world.cities import ATTRIBUTE_OF, Cities

Pattern = str | Sequence[Any] | Mapping[str, Any] | None
"""A pattern, a list of patterns, or ``{"AND": [...]}`` or ``{"OR": [...]}`` of patterns."""

_WORD = re.compile(r"[A-Za-z_]\w*")


def select(cities: Cities, pattern: Pattern) -> Cities:
    """Keep the cities that a pattern matches, in the order of the table.

    Args:
        cities: The cities to choose from.
        pattern: What they must match.

    Returns:
        At least two cities.

    Raises:
        CityError: If the pattern cannot be read, or matches fewer than two cities.
    """
    rows = np.flatnonzero(matches(cities, pattern))
    if len(rows) < 2:
        raise CityError(
            f"The pattern {quoted(pattern)} matches {len(rows)} of {len(cities)} cities, but a "
            "question needs at least two; the regions are "
            f"{', '.join(sorted(set(cities.regions.tolist()))) or 'none'}."
        )
    return cities.take(rows)


def matches(cities: Cities, pattern: Pattern) -> NDArray[np.bool_]:
    """Find which cities a pattern matches.

    Args:
        cities: The cities.
        pattern: What they must match.

    Returns:
        One entry for each city.

    Raises:
        CityError: If the pattern cannot be read.
    """
    if pattern is None:
        return np.ones(len(cities), dtype=np.bool_)
    if isinstance(pattern, str):
        return _matches_text(cities, pattern)
    operator, parts = _operation(pattern) if isinstance(pattern, Mapping) else ("AND", pattern)
    for part in parts:
        if not isinstance(part, str | Sequence | Mapping):
            raise CityError(
                f"A part of a pattern is text, a list, or {{'AND': [...]}}, not {quoted(part)}."
            )
    masks = [matches(cities, part) for part in parts]
    if operator == "OR":
        return np.logical_or.reduce(masks)
    return np.logical_and.reduce([np.ones(len(cities), dtype=np.bool_), *masks])


def _operation(pattern: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
    """Read ``{"AND": [...]}`` or ``{"OR": [...]}``."""
    operator, *others = pattern or [""]
    parts = pattern.get(operator)
    if others or operator not in {"AND", "OR"} or isinstance(parts, str):
        raise CityError(
            f"A pattern is {{'AND': [...]}} or {{'OR': [...]}} with a list of patterns, "
            f"not {quoted(dict(pattern))}."
        )
    if not isinstance(parts, Sequence) or not parts:
        raise CityError(
            f"{quoted(operator)} of a pattern needs a list of patterns, not {quoted(parts)}."
        )
    return operator, parts


def _matches_text(cities: Cities, pattern: str) -> NDArray[np.bool_]:
    if not pattern.strip():
        return np.ones(len(cities), dtype=np.bool_)
    mask = np.zeros(len(cities), dtype=np.bool_)
    for union in pattern.split("||"):
        parts = [_matches_part(cities, part.strip(), pattern) for part in union.split("&&")]
        mask |= np.logical_and.reduce(parts)
    return mask


def _matches_part(cities: Cities, part: str, pattern: str) -> NDArray[np.bool_]:
    if not part:
        raise CityError(f"The pattern {quoted(pattern)} has nothing on one side of its && or ||.")
    column, regex = _column_and_regex(part)
    try:
        match = re.compile(regex).match
    except (re.error, OverflowError, RecursionError) as error:
        note = "; && and || cannot be part of a regex" if part != pattern.strip() else ""
        raise CityError(
            f"{quoted(regex)} in the pattern {quoted(pattern)} is not a regular expression: "
            f"{error}{note}."
        ) from error
    cells = getattr(cities, ATTRIBUTE_OF[column]).tolist()
    known = {cell: match(str(cell)) is not None for cell in set(cells)}
    return np.array([known[cell] for cell in cells], dtype=np.bool_)


def _column_and_regex(part: str) -> tuple[str, str]:
    prefix, colon, rest = part.partition(":")
    column = prefix.strip()
    if colon and column in ATTRIBUTE_OF:
        return column, rest.strip()
    if colon and _WORD.fullmatch(column):
        hint = nearest(column, list(ATTRIBUTE_OF), otherwise="")
        raise CityError(
            f"Cities have no column {quoted(column)} for the pattern {quoted(part)}, only "
            f"{', '.join(ATTRIBUTE_OF)}. {hint}".rstrip()
        )
    return "region", part
