"""Questions about three cities: the triangle between them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from backlight.world.cities import Cities
from backlight.world.questions.geometry import angle_at_middle, points_of, triangle_area
from backlight.world.questions.marking import absolute_error
from backlight.world.questions.sampling import Sampling
from backlight.world.questions.task import Question, Task


@final
@dataclass(frozen=True, kw_only=True)
class TriangleArea(Task):
    """How large is the triangle between three cities? It may be zero."""

    task_type = "trianglearea"
    form = "triarea(c,c,c)="
    marking = absolute_error(unit="0.01 square degree", failure=3600 * 1800 / 2)

    def questions(
        self, cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
    ) -> Iterator[Question]:
        """Draw triples; the answer is the area, rounded (halves to even)."""
        rows = sampling.tuples(cities, num, 3, random)
        areas = triangle_area(*points_of(cities)[rows.T])
        yield from _questions(rows.tolist(), np.rint(areas).astype(np.int64).tolist())


@final
@dataclass(frozen=True, kw_only=True)
class Angle(Task):
    """How wide is the angle at the second city, between the first and the third?"""

    task_type = "angle"
    form = "angle(c,c,c)="
    marking = absolute_error(unit="degree", failure=180.0)

    def questions(
        self, cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
    ) -> Iterator[Question]:
        """Draw triples; the answer is the angle, rounded; 0 if two cities are at one place."""
        rows = sampling.tuples(cities, num, 3, random)
        angles = angle_at_middle(*points_of(cities)[rows.T])
        yield from _questions(rows.tolist(), np.rint(angles).astype(np.int64).tolist())


def _questions(rows: list[list[int]], answers: list[int]) -> Iterator[Question]:
    for triple, answer in zip(rows, answers, strict=True):
        yield Question(tuple(triple), str(answer), {"answer": answer})
