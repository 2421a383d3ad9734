"""Questions about two cities: how far apart they are, and in which direction."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from backlight.world.cities import Cities
from backlight.world.questions.geometry import DIRECTIONS, direction, distance, points_of
from backlight.world.questions.marking import EXACT_MATCH, absolute_error
from backlight.world.questions.sampling import Sampling
from backlight.world.questions.task import Question, Task

FARTHEST = math.hypot(3600, 1800)
"""The largest distance on the map, in 0.1 degree."""


@final
@dataclass(frozen=True, kw_only=True)
class Distance(Task):
    """How far is it from one city to another? No two questions are about the same pair."""

    task_type = "distance"
    form = "dist(c,c)="
    marking = absolute_error(unit="0.1 degree", failure=FARTHEST)

    def questions(
        self, cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
    ) -> Iterator[Question]:
        """Draw pairs; the answer is the distance, rounded."""
        for pair, apart, way in _pairs(cities, num, random, sampling):
            answer = round(apart)
            values = {"answer": answer, "distance": apart, "direction": way}
            yield Question(pair, str(answer), values)


@final
@dataclass(frozen=True, kw_only=True)
class Compass(Task):
    """In which direction is the second city from the first? No two are about the same pair."""

    task_type = "compass"
    form = "compass(c,c)="
    marking = EXACT_MATCH

    def questions(
        self, cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
    ) -> Iterator[Question]:
        """Draw pairs; the answer is one of eight directions."""
        for pair, apart, way in _pairs(cities, num, random, sampling):
            yield Question(pair, way, {"answer": way, "distance": apart, "direction": way})


def _pairs(
    cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
) -> Iterator[tuple[tuple[int, int], float, str]]:
    rows = sampling.pairs(cities, num, random)
    a, b = points_of(cities)[rows.T]
    ways = [DIRECTIONS[index] for index in direction(a, b).tolist()]
    return zip(map(tuple, rows.tolist()), distance(a, b).tolist(), ways, strict=True)
