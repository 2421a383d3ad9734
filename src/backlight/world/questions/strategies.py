"""How a configuration names the groups of cities that come together."""

from collections.abc import Mapping, Sequence
from typing import Any

from backlight.errors import TaskError, nearest, quoted
from backlight.world.questions.groups import Group, read_group
from backlight.world.questions.sampling import (
    AllPairs,
    BetweenGroups,
    Mixed,
    MustInclude,
    Sampling,
    WithinGroups,
)

_NEEDS = {
    "all_pairs": None,
    "within_groups": "groups",
    "between_groups": "group_pairs",
    "must_include": "groups",
    "mixed": "mix",
}


def read_sampling(
    options: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]] | None = None
) -> Sampling:
    """Read from a configuration which cities come together.

    Args:
        options: ``type`` and what it needs: ``within_groups`` with ``groups: [a, b]``,
            ``between_groups`` with ``group_pairs: [[a, b]]``, ``must_include`` with
            ``groups: [a]``, ``mixed`` with ``mix``, a list of such options with a ``ratio`` each,
            or ``all_pairs`` with nothing.
        groups: The filters of each group, by its name.

    Returns:
        The sampling.

    Raises:
        TaskError: If there is no such type or group, or something is missing or too much.
    """
    kind = options.get("type", "all_pairs")
    if kind not in _NEEDS:
        hint = nearest(str(kind), list(_NEEDS))
        raise TaskError(
            f"There is no sampling {quoted(kind)}, only {', '.join(_NEEDS)}. {hint}".strip()
        )
    needed = _NEEDS[kind]
    for name in options:
        if name not in {"type", "ratio", needed or "type"}:
            only = f", only {needed}" if needed else " and no other"
            raise TaskError(f"The sampling {kind} has no option {quoted(name)}{only}.")
    if needed is None:
        return AllPairs()
    given = options.get(needed)
    if not isinstance(given, list) or not given:
        raise TaskError(f"The sampling {kind} needs {needed}, a list.")
    return _of_kind(kind, given, groups or {})


def _of_kind(kind: str, given: Sequence[Any], groups: Mapping[str, Mapping[str, Any]]) -> Sampling:
    if kind == "within_groups":
        return WithinGroups(tuple(_group(name, groups) for name in given))
    if kind == "between_groups":
        return BetweenGroups(tuple(_pair(names, groups) for names in given))
    if kind == "must_include":
        if len(given) != 1:
            raise TaskError(f"The sampling must_include needs one group, not {len(given)}.")
        return MustInclude(_group(given[0], groups))
    return Mixed(tuple((_ratio(part), read_sampling(part, groups)) for part in given))


def _ratio(part: Any) -> float:
    ratio = part.get("ratio") if isinstance(part, Mapping) else None
    if not isinstance(ratio, int | float) or part.get("type") == "mixed":
        raise TaskError(f"Each part of a mix needs a type (not mixed) and a ratio, not {part}.")
    return float(ratio)


def _pair(names: Any, groups: Mapping[str, Mapping[str, Any]]) -> tuple[Group, Group]:
    if not isinstance(names, list) or len(names) != 2:
        raise TaskError(f"A pair of groups has two names, such as [a, b], not {quoted(names)}.")
    return _group(names[0], groups), _group(names[1], groups)


def _group(name: Any, groups: Mapping[str, Mapping[str, Any]]) -> Group:
    if name not in groups:
        known = f"only {', '.join(groups)}" if groups else "for none is defined"
        raise TaskError(f"There is no group {quoted(name)}, {known}.")
    return read_group(groups[name])
