"""Questions about what is near a city: the nearest, how many, some of a ring, and walks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar, final

import numpy as np
from numpy.typing import NDArray

from backlight.errors import TaskError
from backlight.objectives.prompts import Prompt
from backlight.world.cities import Cities
from backlight.world.questions.evaluation import (
    Metric,
    absolute_error,
    read_city_ids,
    right_city_ids,
    score_steps,
)
from backlight.world.questions.geometry import points_of, squared_distance
from backlight.world.questions.neighbours import Neighbours
from backlight.world.questions.options import between, flag
from backlight.world.questions.sampling import MustInclude
from backlight.world.questions.task import Question, Source, Task

_MAX_TRIES = 1_000

FoundT = TypeVar("FoundT")


def _jaccard_index(prompt: Prompt, text: str, _: Cities) -> float | None:
    """Return the share of cities in both lists among those in either; lists must be as long."""
    listed, right = read_city_ids(text), right_city_ids(prompt)
    if listed is None or len(listed) != len(right):
        return None
    return len({*listed} & {*right}) / len({*listed} | {*right})


@final
@dataclass(frozen=True, kw_only=True)
class NearestNeighbor(Task):
    """Which cities are nearest to a city, nearest first? The city itself is none of them.

    Attributes:
        k: How many are asked for, least and most.
    """

    task_type = "nearest_neighbor"
    form = "nearest(c,{k})="
    metric = Metric(name="Jaccard index", failure=0.0, score=_jaccard_index)

    k: tuple[int, int] = between(1, 5, least=1)

    def questions(self, source: Source, num: int) -> Iterator[Question]:
        """Draw a city and a number; where the city must be of a group, none of them twice."""
        if self.k[1] >= len(source.cities):
            raise TaskError(
                f"The {self.k[1]} nearest to a city were asked for, but there are only "
                f"{len(source.cities)} cities."
            )
        neighbours = Neighbours(source.cities, most=self.k[1])
        for row, k in zip(*self._queries(source, num), strict=True):
            answer = source.listed(neighbours.nearest(row)[:k].tolist())
            yield Question((row,), answer, {"answer": answer, "k": k}, (str(k),))

    def _queries(self, source: Source, num: int) -> tuple[list[int], list[int]]:
        low, high = self.k
        if not isinstance(source.sampling, MustInclude):
            rows = source.tuples(num, 1)[:, 0]
            return rows.tolist(), source.random.integers(low, high, num, endpoint=True).tolist()
        rows = source.sampling.group.rows(source.cities)
        total = len(rows) * (high - low + 1)
        if num > total:
            raise TaskError(
                f"{num} different questions about the nearest cities were asked for, but the "
                f"group of {len(rows)} has only {total}."
            )
        chosen = source.random.choice(total, size=num, replace=False)
        row_index, extra = np.divmod(chosen, high - low + 1)
        return rows[row_index].tolist(), (low + extra).tolist()


@final
@dataclass(frozen=True, kw_only=True)
class CircleCount(Task):
    """How many other cities are within a radius of a city?

    Attributes:
        radius: The radius, least and most, in 0.1 degree.
    """

    task_type = "circlecount"
    form = "circlecount(c,r={radius})="
    metric = absolute_error(unit="cities", failure=1000.0)

    radius: tuple[int, int] = between(5, 200, least=0)

    def questions(self, source: Source, num: int) -> Iterator[Question]:
        """Draw a city and a radius."""
        neighbours = Neighbours(source.cities, reach=self.radius[1])
        rows = source.tuples(num, 1)[:, 0]
        radii = source.random.integers(*self.radius, size=num, endpoint=True)
        for row, radius in zip(rows.tolist(), radii.tolist(), strict=True):
            answer = len(neighbours.within(row, 0, radius))
            values = {"answer": answer, "radius": radius}
            yield Question((row,), str(answer), values, (str(radius),))


def _share_in_the_ring(prompt: Prompt, text: str, cities: Cities) -> float | None:
    """Return the share of different cities in the ring, less for a wrong number of them."""
    listed, num_right = read_city_ids(text), len(right_city_ids(prompt))
    if not listed or not num_right:
        return 1.0 if listed == [] and not num_right else None
    center = cities.row_of(int(prompt.values["city1_id"]))
    low, high = int(prompt.values["radius_min"]), int(prompt.values["radius_max"])
    ring = Neighbours(cities, reach=high).within(center, low, high)
    valid = {*listed} & {*cities.city_ids[ring].tolist()}
    return score_steps(len(valid), len(listed), num_listed=len(listed), num_asked=num_right)


@final
@dataclass(frozen=True, kw_only=True)
class RandRing(Task):
    """Name some cities at a distance from a city between two radii; all, if there are fewer.

    Attributes:
        radius_min: The inner radius, least and most, in 0.1 degree.
        radius_max: The outer radius, least and most; it is always larger than the inner.
        k: How many cities are asked for, least and most.
        allow_empty: Whether a ring may be empty, so that the right answer is nothing.
    """

    task_type = "randring"
    form = "randring(c,r={radius_min},R={radius_max},n={k})="
    metric = Metric(
        name="share in the ring, less for a wrong number", failure=0.0, score=_share_in_the_ring
    )

    radius_min: tuple[int, int] = between(10, 450, least=0)
    radius_max: tuple[int, int] = between(50, 500, least=1)
    k: tuple[int, int] = between(1, 10, least=1)
    allow_empty: bool = flag(True)

    def questions(self, source: Source, num: int) -> Iterator[Question]:
        """Draw a city, two radii and a number, then so many cities of the ring in any order."""
        random = source.random
        neighbours = Neighbours(
            source.cities, reach=max(self.radius_max[1], self.radius_min[1] + 1)
        )

        def ring_around(row: int) -> tuple[int, int, NDArray[np.int32]] | None:
            low, high = self._radii(random)
            ring = neighbours.within(row, low, high)
            return (low, high, ring) if len(ring) or self.allow_empty else None

        refusal = (
            f"No ring with a city in it was found among {_MAX_TRIES} rings around these "
            f"{len(source.cities)} cities: allow larger radii, or allow_empty."
        )
        for row, (low, high, ring) in _searched(source, num, ring_around, refusal):
            k = int(random.integers(*self.k, endpoint=True))
            found = random.choice(ring, size=min(k, len(ring)), replace=False).tolist()
            answer = source.listed(found)
            values = {"answer": answer, "radius_min": low, "radius_max": high, "k": k}
            yield Question((row,), answer, values, (str(low), str(high), str(k)))

    def _radii(self, random: np.random.Generator) -> tuple[int, int]:
        low = int(random.integers(*self.radius_min, endpoint=True))
        least, most = max(self.radius_max[0], low + 1), self.radius_max[1]
        return low, int(random.integers(least, max(least, most), endpoint=True))


def _valid_steps(prompt: Prompt, text: str, cities: Cities) -> float | None:
    """Return the share of steps to another city within reach, less for a wrong length."""
    listed = read_city_ids(text)
    if listed is None or len(listed) < 2:
        return None
    steps = [
        (row, next_row)
        for row, next_row in pairwise(map(cities.find, listed))
        if row is not None and next_row is not None and row != next_row
    ]
    ends = points_of(cities)[np.array(steps, np.int64).reshape(-1, 2)]
    reach = int(prompt.values["max_step"]) ** 2
    valid = int((squared_distance(ends[:, 0], ends[:, 1]) <= reach).sum())
    asked = int(prompt.values["length"])
    return score_steps(valid, len(listed) - 1, num_listed=len(listed), num_asked=asked)


@final
@dataclass(frozen=True, kw_only=True)
class RandomWalk(Task):
    """Walk through so many cities, each step to another city within so far; any walk is right.

    Attributes:
        max_step: How far a step may go, least and most, in 0.1 degree.
        length: How many cities the walk has, least and most.
    """

    task_type = "randomwalk"
    form = "rw({max_step},{length})="
    metric = Metric(
        name="share of valid steps, less for a wrong length", failure=0.0, score=_valid_steps
    )

    max_step: tuple[int, int] = between(50, 500, least=1)
    length: tuple[int, int] = between(5, 20, least=2)

    def questions(self, source: Source, num: int) -> Iterator[Question]:
        """Draw a start and two numbers; each next city is any within reach, seen before or not."""
        random = source.random
        neighbours = Neighbours(source.cities, reach=self.max_step[1])

        def step_from(row: int) -> int | None:
            max_step = int(random.integers(*self.max_step, endpoint=True))
            return max_step if len(neighbours.within(row, 0, max_step)) else None

        refusal = (
            f"No walk was found among {_MAX_TRIES} starts: hardly any of these "
            f"{len(source.cities)} cities has another within max_step, {list(self.max_step)}."
        )
        for start, max_step in _searched(source, num, step_from, refusal):
            length = int(random.integers(*self.length, endpoint=True))
            walk = [start]
            for chance in random.random(length - 1).tolist():
                near = neighbours.within(walk[-1], 0, max_step)
                walk.append(int(near[int(chance * len(near))]))
            answer = source.listed(walk)
            values = {"answer": answer, "max_step": max_step, "length": length}
            yield Question((), answer, values, (str(max_step), str(length)))


def _searched(
    source: Source, num: int, find: Callable[[int], FoundT | None], refusal: str
) -> Iterator[tuple[int, FoundT]]:
    """Draw cities around which something is found; where nothing is, draw another city."""
    for row in source.tuples(num, 1)[:, 0].tolist():
        for _ in range(_MAX_TRIES):
            found = find(row)
            if found is not None:
                break
            row = int(source.tuples(1, 1)[0, 0])
        else:
            raise TaskError(refusal)
        yield row, found
