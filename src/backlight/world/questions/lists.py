"""Questions about a list of cities: how long the way round is, and which is in the middle."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from backlight.objectives.prompts import Prompt
from backlight.world.cities import Cities
from backlight.world.questions.balance import draw_labels
from backlight.world.questions.form import city_text
from backlight.world.questions.geometry import distance, nearest_to_mean, perimeter, points_of
from backlight.world.questions.marking import Marking, absolute_error, read_city_ids, row_of
from backlight.world.questions.options import count, share
from backlight.world.questions.pairs import FARTHEST
from backlight.world.questions.sampling import Sampling
from backlight.world.questions.task import Question, Task

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
    marking = absolute_error(unit="0.1 degree", failure=20_000.0)

    min_n: int = count(2, least=2)
    max_n: int = count(5, least=2)

    def questions(
        self, cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
    ) -> Iterator[Question]:
        """Draw lists; the answer is the length of the closed polygon in their order, rounded."""
        points = points_of(cities)
        sizes, rows = _lists(self.min_n, self.max_n, cities, num, random, sampling)
        answers = np.empty(num, np.int64)
        for size in np.unique(sizes).tolist():
            ours = sizes == size
            answers[ours] = np.rint(perimeter(points[rows[ours, :size]]))
        for row, size, answer in zip(rows.tolist(), sizes.tolist(), answers.tolist(), strict=True):
            yield Question(tuple(row[:size]), str(answer), {"answer": answer, "k": size})


def _distance_to_the_right_city(prompt: Prompt, text: str, cities: Cities) -> float | None:
    answered = read_city_ids(text)
    row = row_of(answered[0], cities) if answered and len(answered) == 1 else None
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
    marking = Marking(
        metric="distance to the right city",
        unit="0.1 degree",
        failure=FARTHEST,
        mark=_distance_to_the_right_city,
    )

    min_n: int = count(1, least=1)
    max_n: int = count(5, least=1)
    true_ratio: float = share(0.5)

    def questions(
        self, cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
    ) -> Iterator[Question]:
        """Draw lists; the answer is the city nearest to their mean, the first if several are."""
        inner = draw_labels(num, self.true_ratio, random)
        sizes, rows = _lists(self.min_n, self.max_n, cities, num, random, sampling)
        found = np.empty(num, np.int64)
        for size in np.unique(sizes).tolist():
            for among_listed in (True, False):
                places = np.flatnonzero((sizes == size) & (inner == among_listed))
                found[places] = _centers(points_of(cities), rows[places, :size], among_listed)
        questions = zip(rows.tolist(), sizes.tolist(), inner.tolist(), found.tolist(), strict=True)
        for row, size, among_listed, answer in questions:
            word = "TRUE" if among_listed else "FALSE"
            values = {"k": size, "in": word, **_values(cities, answer)}
            yield Question(tuple(row[:size]), str(values["answer"]), values, (word,))


def _lists(
    low: int, high: int, cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    sizes = random.integers(low, high, size=num, endpoint=True)
    rows = np.empty((num, high), np.int64)
    for size in np.unique(sizes).tolist():
        places = np.flatnonzero(sizes == size)
        rows[places, :size] = sampling.tuples(cities, len(places), size, random)
    return sizes, rows


def _centers(
    points: NDArray[np.int64], rows: NDArray[np.int64], among_listed: bool
) -> NDArray[np.int64]:
    if among_listed:
        places = nearest_to_mean(points[rows], points[rows])
        return rows[np.arange(len(rows)), places]
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    found = [nearest_to_mean(points[chunk], points[None]) for chunk in chunks]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _values(cities: Cities, row: int) -> dict[str, float | str]:
    return {
        "answer": city_text(int(cities.city_ids[row])),
        "answer_x": int(cities.x[row]),
        "answer_y": int(cities.y[row]),
        "answer_region": str(cities.regions[row]),
    }
