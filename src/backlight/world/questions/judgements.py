"""Questions whose answer is TRUE or FALSE: do segments cross, is a city inside others?"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np

from backlight.world.questions.balance import draw_labels, draw_with_labels
from backlight.world.questions.evaluation import EXACT_MATCH
from backlight.world.questions.geometry import in_hull, segments_cross
from backlight.world.questions.options import count, share
from backlight.world.questions.task import Question, Source, Task, places_of_sizes


@final
@dataclass(frozen=True, kw_only=True)
class Crossing(Task):
    """Does the segment between two cities cross that between two others?

    Attributes:
        true_ratio: The share of questions whose answer is TRUE.
    """

    task_type = "crossing"
    form = "cross(c,c;c,c)="
    metric = EXACT_MATCH

    true_ratio: float = share(0.5)

    def questions(self, source: Source, num: int) -> Iterator[Question]:
        """Draw four cities in any order until the shares are right; the order then stays."""
        labels = draw_labels(num, self.true_ratio, source.random)
        rows = draw_with_labels(
            labels,
            partial(source.tuples, size=4),
            lambda rows: segments_cross(*source.points[rows.T]),
            "two segments cross",
        )
        for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
            yield _question(row, label)


@final
@dataclass(frozen=True, kw_only=True)
class Inside(Task):
    """Is the first city in the convex hull of the others, or on its edge?

    Attributes:
        min_n: The least number of others.
        max_n: The largest.
        true_ratio: The share of questions whose answer is TRUE, for each number of others.
    """

    task_type = "inside"
    form = "inside(c;c*)="
    metric = EXACT_MATCH

    min_n: int = count(3, least=3)
    max_n: int = count(5, least=3)
    true_ratio: float = share(0.5)

    def questions(self, source: Source, num: int) -> Iterator[Question]:
        """Draw how many others and the answer, then cities for which that is the answer."""
        sizes = source.random.integers(self.min_n, self.max_n, size=num, endpoint=True)
        labels = draw_labels(num, self.true_ratio, source.random)
        rows = np.empty((num, self.max_n + 1), np.int64)
        for size, places in places_of_sizes(sizes):
            rows[places, : size + 1] = draw_with_labels(
                labels[places],
                partial(source.tuples, size=size + 1),
                lambda rows: in_hull(source.points[rows[:, 0]], source.points[rows[:, 1:]]),
                f"a city is inside {size} others",
            )
        for row, size, label in zip(rows.tolist(), sizes.tolist(), labels.tolist(), strict=True):
            yield _question(row[: size + 1], label, k=size)


def _question(rows: list[int], label: bool, **values: float | str) -> Question:
    answer, wrong_answer = ("TRUE", "FALSE") if label else ("FALSE", "TRUE")
    return Question(tuple(rows), answer, {"answer": answer, **values}, wrong_answer=wrong_answer)
