"""Questions about a list of cities: how long the way round is, and which is in the middle."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from backlight.objectives.prompts import Prompt
from backlight.world.cities import Cities
from backlight.world.questions.balance import draw_labels
from backlight.world.questions.evaluation import Metric, absolute_error, read_city_ids
from backlight.world.questions.geometry import (
    FARTHEST,
    distance,
    nearest_to_mean,
    perimeter,
    points_of,
)
from backlight.world.questions.options import count, share
from backlight.world.questions.task import Question, Source, Task, places_of_sizes

_CHUNK = 200  # questions at once, each against every city


@final
@dataclass(frozen=True, kw_only=True)
class Perimeter(Task):
    """How long is the way from city to city and back to the first? For two cities: one way.

    Attributes:
        min_n: The least number of cities.
        max_n: The largest.
    """

    task_type = "perimeter"
    form = "perimeter(c*)="
    metric = absolute_error(unit="0.1 degree", failure=20_000.0)

    min_n: int = count(2, least=2)
    max_n: int = count(5, least=2)

    def questions(self, source: Source, num: int) -> Iterator[Question]:
        """Draw lists; the answer is the length of the closed polygon in their order, rounded."""
        sizes, rows = _lists(source, num, self.min_n, self.max_n)
        answers = np.empty(num, np.int64)
        for size, places in places_of_sizes(sizes):
            answers[places] = np.rint(perimeter(source.points[rows[places, :size]]))
        for row, size, answer in zip(rows.tolist(), sizes.tolist(), answers.tolist(), strict=True):
            yield Question(tuple(row[:size]), str(answer), {"answer": answer, "k": size})


def _distance_to_the_right_city(prompt: Prompt, text: str, cities: Cities) -> float | None:
    answered = read_city_ids(text)
    row = cities.find(answered[0]) if answered and len(answered) == 1 else None
    if row is None:
        return None
    right = np.array([[prompt.values["answer_x"], prompt.values["answer_y"]]], np.int64)
    return float(distance(points_of(cities)[[row]], right)[0])


@final
@dataclass(frozen=True, kw_only=True)
class Center(Task):
    """Which city is nearest to the mean of some: of those (``in=TRUE``), or of all cities?

    Attributes:
        min_n: The least number of cities listed.
        max_n: The largest.
        true_ratio: The share of questions that ask for one of those listed.
    """

    task_type = "center"
    form = "center(c*;in={in})="
    metric = Metric(
        name="distance to the right city",
        unit="0.1 degree",
        failure=FARTHEST,
        score=_distance_to_the_right_city,
    )

    min_n: int = count(1, least=1)
    max_n: int = count(5, least=1)
    true_ratio: float = share(0.5)

    def questions(self, source: Source, num: int) -> Iterator[Question]:
        """Draw lists; the answer is the city nearest to their mean, the first if several are."""
        inner = draw_labels(num, self.true_ratio, source.random)
        sizes, rows = _lists(source, num, self.min_n, self.max_n)
        found = np.empty(num, np.int64)
        for size, places in places_of_sizes(sizes):
            for among_listed in (True, False):
                ours = places[inner[places] == among_listed]
                found[ours] = _centers(source.points, rows[ours, :size], among_listed)
        questions = zip(rows.tolist(), sizes.tolist(), inner.tolist(), found.tolist(), strict=True)
        for row, size, among_listed, center in questions:
            word = "TRUE" if among_listed else "FALSE"
            answer = source.names[center]
            values: dict[str, float | str] = {
                "k": size,
                "in": word,
                "answer": answer,
                "answer_x": int(source.cities.x[center]),
                "answer_y": int(source.cities.y[center]),
                "answer_region": str(source.cities.regions[center]),
            }
            yield Question(tuple(row[:size]), answer, values, (word,))


def _lists(
    source: Source, num: int, low: int, high: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw lists of cities of different lengths: the length of each, and its cities."""
    sizes = source.random.integers(low, high, size=num, endpoint=True)
    rows = np.empty((num, high), np.int64)
    for size, places in places_of_sizes(sizes):
        rows[places, :size] = source.tuples(len(places), size)
    return sizes, rows


def _centers(
    points: NDArray[np.int64], rows: NDArray[np.int64], among_listed: bool
) -> NDArray[np.int64]:
    if among_listed:
        return rows[np.arange(len(rows)), nearest_to_mean(points[rows], points[rows])]
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    found = [nearest_to_mean(points[chunk], points[None]) for chunk in chunks]
    return np.concatenate(found) if found else np.empty(0, np.int64)
