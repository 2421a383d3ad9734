"""Questions about what is around a city: the nearest, how many, and some of a ring."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from backlight.errors import TaskError
from backlight.objectives.prompts import Prompt
from backlight.world.cities import Cities
from backlight.world.questions.form import city_text
from backlight.world.questions.marking import (
    Marking,
    absolute_error,
    read_city_ids,
    right_city_ids,
    steps_mark,
)
from backlight.world.questions.neighbours import Neighbours
from backlight.world.questions.options import between, flag
from backlight.world.questions.sampling import MustInclude, Sampling
from backlight.world.questions.task import Question, Task

_MAX_TRIES = 1_000


def _jaccard_index(prompt: Prompt, text: str, _: Cities) -> float | None:
    """Return the share of cities in both lists among those in either; lists must be as long."""
    listed, right = read_city_ids(text), right_city_ids(prompt)
    if listed is None or len(listed) != len(right):
        return None
    return len({*listed} & {*right}) / len({*listed} | {*right})


def _share_in_the_ring(prompt: Prompt, text: str, cities: Cities) -> float | None:
    """Return the share of different cities in the ring, less for a wrong number of them."""
    listed, num_right = read_city_ids(text), len(right_city_ids(prompt))
    if not listed or not num_right:
        return 1.0 if listed == [] and not num_right else None
    center = cities.row_of(int(prompt.values["city1_id"]))
    low, high = int(prompt.values["radius_min"]), int(prompt.values["radius_max"])
    ring = Neighbours(cities, reach=high).within(center, low, high)
    valid = {*listed} & {*cities.city_ids[ring].tolist()}
    return steps_mark(len(valid), len(listed), num_listed=len(listed), num_asked=num_right)


@final
@dataclass(frozen=True, kw_only=True)
class NearestNeighbor(Task):
    """Which cities are nearest to a city, nearest first? The city itself is none of them.

    Attributes:
        k: How many are asked for, least and most.
    """

    task_type = "nearest_neighbor"
    form = "nearest(c,{k})="
    marking = Marking(metric="Jaccard index", failure=0.0, mark=_jaccard_index)

    k: tuple[int, int] = between(1, 5, least=1)

    def questions(
        self, cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
    ) -> Iterator[Question]:
        """Draw a city and a number; where the city must be of a group, none of them twice."""
        if self.k[1] >= len(cities):
            raise TaskError(
                f"The {self.k[1]} nearest to a city were asked for, but there are only "
                f"{len(cities)} cities."
            )
        neighbours = Neighbours(cities, most=self.k[1])
        names = [city_text(city_id) for city_id in cities.city_ids.tolist()]
        for row, k in self._queries(cities, num, random, sampling):
            answer = ",".join([names[near] for near in neighbours.nearest(row)[:k].tolist()])
            yield Question((row,), answer, {"answer": answer, "k": k}, (str(k),))

    def _queries(
        self, cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
    ) -> Iterator[tuple[int, int]]:
        low, high = self.k
        if isinstance(sampling, MustInclude):
            rows = sampling.group.rows(cities)
            total = len(rows) * (high - low + 1)
            if num > total:
                raise TaskError(
                    f"{num} different questions about the nearest cities were asked for, but the "
                    f"group of {len(rows)} has only {total}."
                )
            chosen = random.choice(total, size=num, replace=False)
            row_index, extra = np.divmod(chosen, high - low + 1)
            return zip(rows[row_index].tolist(), (low + extra).tolist(), strict=True)
        rows = sampling.tuples(cities, num, 1, random)[:, 0]
        counts = random.integers(low, high, size=num, endpoint=True)
        return zip(rows.tolist(), counts.tolist(), strict=True)


@final
@dataclass(frozen=True, kw_only=True)
class CircleCount(Task):
    """How many other cities are within a radius of a city?

    Attributes:
        radius: The radius, least and most, in 0.1 degree.
    """

    task_type = "circlecount"
    form = "circlecount(c,r={radius})="
    marking = absolute_error(unit="cities", failure=1000.0)

    radius: tuple[int, int] = between(5, 200, least=0)

    def questions(
        self, cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
    ) -> Iterator[Question]:
        """Draw a city and a radius."""
        neighbours = Neighbours(cities, reach=self.radius[1])
        rows = sampling.tuples(cities, num, 1, random)[:, 0]
        radii = random.integers(*self.radius, size=num, endpoint=True)
        for row, radius in zip(rows.tolist(), radii.tolist(), strict=True):
            answer = len(neighbours.within(row, 0, radius))
            values = {"answer": answer, "radius": radius}
            yield Question((row,), str(answer), values, (str(radius),))


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
    marking = Marking(
        metric="share in the ring, less for a wrong number", failure=0.0, mark=_share_in_the_ring
    )

    radius_min: tuple[int, int] = between(10, 450, least=0)
    radius_max: tuple[int, int] = between(50, 500, least=1)
    k: tuple[int, int] = between(1, 10, least=1)
    allow_empty: bool = flag(True)

    def questions(
        self, cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
    ) -> Iterator[Question]:
        """Draw a city, two radii and a number, then so many cities of the ring in any order."""
        reach = max(self.radius_max[1], self.radius_min[1] + 1)
        neighbours = Neighbours(cities, reach=reach)
        names = [city_text(city_id) for city_id in cities.city_ids.tolist()]
        for row in sampling.tuples(cities, num, 1, random)[:, 0].tolist():
            for _ in range(_MAX_TRIES):
                low, high = self._radii(random)
                ring = neighbours.within(row, low, high)
                if len(ring) or self.allow_empty:
                    break
                row = int(sampling.tuples(cities, 1, 1, random)[0, 0])
            else:
                raise TaskError(
                    f"No ring with a city in it was found among {_MAX_TRIES} rings around these "
                    f"{len(cities)} cities: allow larger radii, or allow_empty."
                )
            k = int(random.integers(*self.k, endpoint=True))
            found = random.choice(ring, size=min(k, len(ring)), replace=False).tolist()
            answer = ",".join([names[near] for near in found])
            values = {"answer": answer, "radius_min": low, "radius_max": high, "k": k}
            yield Question((row,), answer, values, (str(low), str(high), str(k)))

    def _radii(self, random: np.random.Generator) -> tuple[int, int]:
        low = int(random.integers(*self.radius_min, endpoint=True))
        least, most = max(self.radius_max[0], low + 1), self.radius_max[1]
        return low, int(random.integers(least, max(least, most), endpoint=True))
