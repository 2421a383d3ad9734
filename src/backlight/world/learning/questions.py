"""Rows to learn from: questions drawn so that many have their first city in common."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from backlight.errors import TaskError
from backlight.objectives.prompts import Prompt
from backlight.world.cities import Cities
from backlight.world.learning.held_out import is_held_out
from backlight.world.questions.sampling import Sampling
from backlight.world.questions.task import Task

_PATIENCE = 20  # how often to draw


@final
@dataclass(frozen=True)
class Spokes(Sampling):
    """Some questions in a row have the same first city; apart from that cities are any.

    The same pair may be drawn again: there are more steps of a training than that would matter.

    Attributes:
        questions_per_city: How many questions in a row share their first city.
    """

    questions_per_city: int

    def tuples(
        self, cities: Cities, num: int, size: int, random: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draw first cities, then others that differ from each other."""
        if len(cities) < size:
            raise TaskError(
                f"A question needs {size} different cities, but there are only {len(cities)}."
            )
        rows = random.integers(len(cities), size=(num, size))
        rows[:, 0] = np.repeat(rows[:: self.questions_per_city, 0], self.questions_per_city)[:num]
        while (twice := _repeats(rows)).any():
            rows[twice, 1:] = random.integers(len(cities), size=(int(twice.sum()), size - 1))
        return rows

    def pairs(self, cities: Cities, num: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Draw pairs of different cities."""
        return self.tuples(cities, num, 2, random)

    def allowed(self, cities: Cities) -> NDArray[np.bool_]:
        """Say that any two may come together."""
        return np.ones((len(cities), len(cities)), dtype=np.bool_)


def draw_rows(
    task: Task,
    cities: Cities,
    num: int,
    random: np.random.Generator,
    *,
    questions_per_city: int,
    held_out: float,
) -> list[str]:
    """Draw rows to learn from.

    Args:
        task: What to ask.
        cities: Whom to ask about.
        num: How many questions to draw.
        random: Where chance comes from.
        questions_per_city: How many questions in a row share their first city.
        held_out: The share of all questions that is never learned from.

    Returns:
        Questions with answers: fewer than drawn, as the held-out ones are left out.
    """
    drawn = task.rows(cities, num, random, sampling=Spokes(questions_per_city))
    return [row for row in drawn if not is_held_out(row, held_out)]


def held_out_questions(
    task: Task, cities: Cities, num: int, random: np.random.Generator, *, held_out: float
) -> list[Prompt]:
    """Draw questions that are never learned from.

    Args:
        task: What to ask.
        cities: Whom to ask about.
        num: How many questions to find.
        random: Where chance comes from.
        held_out: The share of all questions that is held out.

    Returns:
        The questions, each as likely as every other that is held out.

    Raises:
        TaskError: If there are hardly any.
    """
    found: list[Prompt] = []
    for _ in range(_PATIENCE):
        drawn = task.draw(cities, round(num / held_out) + 1, random, sampling=Spokes(1))
        found += [prompt for prompt in drawn if is_held_out(prompt.text, held_out)]
        if len(found) >= num:
            return found[:num]
    raise TaskError(
        f"Only {len(found)} questions of {task.task_type!r} about these {len(cities)} cities are "
        f"held out, but {num} were asked for: lower num_held_out, or raise held_out."
    )


def _repeats(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say in which rows a city stands twice."""
    return (np.diff(np.sort(rows, axis=1), axis=1) == 0).any(axis=1)
