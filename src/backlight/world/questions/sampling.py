"""Which cities come together in a question: any, of one group, across groups, or with one.

A configuration says so by a ``type`` and the names of groups (``read_sampling``).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any, final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from backlight.errors import TaskError, nearest, quoted
from backlight.world.cities import Cities
from backlight.world.questions.distinct import (
    Rows,
    all_pairs,
    draw_tuples,
    fill,
    pairs_among,
    too_few,
)
from backlight.world.questions.groups import Group, read_group

_NEEDS = {
    "all_pairs": None,
    "within_groups": "groups",
    "between_groups": "group_pairs",
    "must_include": "groups",
    "mixed": "mix",
}


class Sampling(ABC):
    """A way to choose the cities of questions."""

    @abstractmethod
    def tuples(self, cities: Cities, num: int, size: int, random: Generator) -> Rows:
        """Draw cities for questions, where questions may repeat.

        Args:
            cities: The cities to choose from.
            num: How many questions.
            size: How many different cities each question has.
            random: Where chance comes from.

        Returns:
            Rows of cities, ``num`` by ``size``.

        Raises:
            TaskError: If there are too few cities.
        """

    @abstractmethod
    def pairs(self, cities: Cities, num: int, random: Generator) -> Rows:
        """Draw pairs of different cities so that no two questions have the same pair.

        Every pair that may come is as likely as every other, and so is its order.

        Args:
            cities: The cities to choose from.
            num: How many pairs.
            random: Where chance comes from.

        Returns:
            Rows of cities, ``num`` by 2.

        Raises:
            TaskError: If there are fewer pairs.
        """

    @abstractmethod
    def allowed(self, cities: Cities) -> NDArray[np.bool_]:
        """Return which pairs of cities may come together, as a symmetric matrix."""


@final
@dataclass(frozen=True)
class AllPairs(Sampling):
    """Any cities."""

    def tuples(self, cities: Cities, num: int, size: int, random: Generator) -> Rows:
        """Draw different cities, each as likely as every other."""
        return draw_tuples(np.arange(len(cities)), num, size, random)

    def pairs(self, cities: Cities, num: int, random: Generator) -> Rows:
        """Draw pairs, none of them twice."""
        return all_pairs(len(cities), num, random)

    def allowed(self, cities: Cities) -> NDArray[np.bool_]:
        """Return that any two may come together."""
        return np.ones((len(cities), len(cities)), dtype=np.bool_)


@final
@dataclass(frozen=True)
class WithinGroups(Sampling):
    """All cities of a question are of one group; larger groups come more often."""

    groups: tuple[Group, ...]

    def tuples(self, cities: Cities, num: int, size: int, random: Generator) -> Rows:
        """Draw a group by how many choices it offers, then cities of it."""
        pools = [group.rows(cities) for group in self.groups]
        weights = [comb(len(pool), size) for pool in pools]
        if not sum(weights):
            raise TaskError(too_few(size, max(map(len, pools)), "the largest group has"))
        # A group of n has comb(n, size) choices: so every choice of any group is equally likely.
        counts = random.multinomial(num, np.array(weights) / sum(weights))
        drawn = [
            draw_tuples(pool, count, size, random)
            for count, pool in zip(counts.tolist(), pools, strict=True)
            if count
        ]
        return random.permutation(np.concatenate([np.empty((0, size), np.int64), *drawn]))

    def pairs(self, cities: Cities, num: int, random: Generator) -> Rows:
        """Draw pairs of one group, none of them twice."""
        return pairs_among(self.allowed(cities), num, random)

    def allowed(self, cities: Cities) -> NDArray[np.bool_]:
        """Return which pairs are of one group."""
        allowed = np.zeros((len(cities), len(cities)), dtype=np.bool_)
        for group in self.groups:
            rows = group.rows(cities)
            allowed[np.ix_(rows, rows)] = True
        return allowed


@final
@dataclass(frozen=True)
class BetweenGroups(Sampling):
    """A question has a city of each of two groups; further cities are of either."""

    group_pairs: tuple[tuple[Group, Group], ...]

    def tuples(self, cities: Cities, num: int, size: int, random: Generator) -> Rows:
        """Draw two groups, a city of each, then others of either, in any order."""
        if size < 2:
            raise TaskError("A question about one city cannot be asked between groups.")
        which = random.integers(len(self.group_pairs), size=num)
        drawn = np.empty((num, size), np.int64)
        for index, (one, other) in enumerate(self.group_pairs):
            ours = which == index
            rows, others = one.rows(cities), other.rows(cities)
            given = draw_tuples(rows, int(ours.sum()), 1, random)
            given = fill(given, others, 2, random)
            drawn[ours] = fill(given, np.union1d(rows, others), size, random)
        return random.permuted(drawn, axis=1)

    def pairs(self, cities: Cities, num: int, random: Generator) -> Rows:
        """Draw pairs across groups, none of them twice."""
        return pairs_among(self.allowed(cities), num, random)

    def allowed(self, cities: Cities) -> NDArray[np.bool_]:
        """Return which pairs are across groups."""
        allowed = np.zeros((len(cities), len(cities)), dtype=np.bool_)
        for one, other in self.group_pairs:
            allowed[np.ix_(one.rows(cities), other.rows(cities))] = True
        return allowed | allowed.T


@final
@dataclass(frozen=True)
class MustInclude(Sampling):
    """At least one city of a question is of a group, wherever it stands; the rest are any."""

    group: Group

    def tuples(self, cities: Cities, num: int, size: int, random: Generator) -> Rows:
        """Draw a city of the group, then any others, in any order."""
        given = draw_tuples(self.group.rows(cities), num, 1, random)
        return random.permuted(fill(given, np.arange(len(cities)), size, random), axis=1)

    def pairs(self, cities: Cities, num: int, random: Generator) -> Rows:
        """Draw pairs with a city of the group, none of them twice."""
        return pairs_among(self.allowed(cities), num, random)

    def allowed(self, cities: Cities) -> NDArray[np.bool_]:
        """Return which pairs have a city of the group."""
        member = np.zeros(len(cities), dtype=np.bool_)
        member[self.group.rows(cities)] = True
        return member[:, None] | member[None, :]


@final
@dataclass(frozen=True)
class Mixed(Sampling):
    """Shares of questions, each chosen in its own way; the shares add up to one."""

    mix: tuple[tuple[float, Sampling], ...]

    def __post_init__(self) -> None:
        ratios = [ratio for ratio, _ in self.mix]
        if any(ratio < 0 for ratio in ratios) or abs(sum(ratios) - 1) > 1e-6:
            raise TaskError(f"The ratios of a mix must add up to 1, but they are {ratios}.")

    def tuples(self, cities: Cities, num: int, size: int, random: Generator) -> Rows:
        """Draw each share, then mix them."""
        drawn = [
            sampling.tuples(cities, count, size, random)
            for count, (_, sampling) in zip(self._counts(num), self.mix, strict=True)
        ]
        return random.permutation(np.concatenate(drawn))

    def pairs(self, cities: Cities, num: int, random: Generator) -> Rows:
        """Draw the pairs of each share, none of them twice, then mix them."""
        # What one share has drawn is no longer free for the next: a pair that two shares allow
        # comes at most once in all.
        free = ~np.eye(len(cities), dtype=np.bool_)
        drawn: list[Rows] = []
        for count, (_, sampling) in zip(self._counts(num), self.mix, strict=True):
            drawn.append(pairs_among(sampling.allowed(cities) & free, count, random))
            first, second = drawn[-1].T
            free[first, second] = free[second, first] = False
        return random.permutation(np.concatenate(drawn))

    def allowed(self, cities: Cities) -> NDArray[np.bool_]:
        """Return which pairs may come in any share."""
        return np.logical_or.reduce([sampling.allowed(cities) for _, sampling in self.mix])

    def _counts(self, num: int) -> list[int]:
        # Ends are rounded, not shares: so the counts always add up to num.
        ends = np.rint(np.cumsum([ratio for ratio, _ in self.mix]) * num).astype(np.int64)
        return np.diff(ends, prepend=0).tolist()


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
