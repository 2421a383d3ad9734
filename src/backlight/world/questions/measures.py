"""Questions about two or three cities that a formula answers: distance, direction, area, angle."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from backlight.world.questions.evaluation import EXACT_MATCH, absolute_error
from backlight.world.questions.geometry import (
    DIRECTIONS,
    FARTHEST,
    angle_at_middle,
    direction,
    distance,
    triangle_area,
)
from backlight.world.questions.task import Question, Source, Task


@final
@dataclass(frozen=True, kw_only=True)
class Distance(Task):
    """How far is it from one city to another? No two questions are about the same pair."""

    task_type = "distance"
    form = "dist(c,c)="
    metric = absolute_error(unit="0.1 degree", failure=FARTHEST)

    def questions(self, source: Source, num: int) -> Iterator[Question]:
        """Draw pairs; the answer is the distance, rounded."""
        for pair, apart, way in _pairs(source, num):
            answer = round(apart)
            values = {"answer": answer, "distance": apart, "direction": way}
            yield Question(pair, str(answer), values)


@final
@dataclass(frozen=True, kw_only=True)
class Compass(Task):
    """In which direction is the second city from the first? No two are about the same pair."""

    task_type = "compass"
    form = "compass(c,c)="
    metric = EXACT_MATCH

    def questions(self, source: Source, num: int) -> Iterator[Question]:
        """Draw pairs; the answer is one of eight directions."""
        for pair, apart, way in _pairs(source, num):
            yield Question(pair, way, {"answer": way, "distance": apart, "direction": way})


@final
@dataclass(frozen=True, kw_only=True)
class TriangleArea(Task):
    """How large is the triangle between three cities? It may be zero."""

    task_type = "trianglearea"
    form = "triarea(c,c,c)="
    metric = absolute_error(unit="0.01 square degree", failure=3600 * 1800 / 2)

    def questions(self, source: Source, num: int) -> Iterator[Question]:
        """Draw triples; the answer is the area, rounded (halves to even)."""
        rows = source.tuples(num, 3)
        return _rounded(rows, triangle_area(*source.points[rows.T]))


@final
@dataclass(frozen=True, kw_only=True)
class Angle(Task):
    """How wide is the angle at the second city, between the first and the third?"""

    task_type = "angle"
    form = "angle(c,c,c)="
    metric = absolute_error(unit="degree", failure=180.0)

    def questions(self, source: Source, num: int) -> Iterator[Question]:
        """Draw triples; the answer is the angle, rounded; 0 if two cities are at one place."""
        rows = source.tuples(num, 3)
        return _rounded(rows, angle_at_middle(*source.points[rows.T]))


def _pairs(source: Source, num: int) -> Iterator[tuple[tuple[int, ...], float, str]]:
    """Draw pairs of cities, with the distance and the direction from the first to the second."""
    rows = source.pairs(num)
    a, b = source.points[rows.T]
    ways = [DIRECTIONS[index] for index in direction(a, b).tolist()]
    return zip(map(tuple, rows.tolist()), distance(a, b).tolist(), ways, strict=True)


def _rounded(rows: NDArray[np.int64], answers: NDArray[np.float64]) -> Iterator[Question]:
    for row, answer in zip(rows.tolist(), np.rint(answers).astype(np.int64).tolist(), strict=True):
        yield Question(tuple(row), str(answer), {"answer": answer})
