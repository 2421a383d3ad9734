"""Walks from city to city in steps of limited length."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np

from backlight.errors import TaskError
from backlight.objectives.prompts import Prompt
from backlight.world.cities import Cities
from backlight.world.questions.form import city_text
from backlight.world.questions.marking import Marking, read_city_ids, row_of, steps_mark
from backlight.world.questions.neighbours import Neighbours
from backlight.world.questions.options import between
from backlight.world.questions.sampling import Sampling
from backlight.world.questions.task import Question, Task

_MAX_TRIES = 1_000


def _valid_steps(prompt: Prompt, text: str, cities: Cities) -> float | None:
    """Return the share of steps to another city within reach, less for a wrong length."""
    listed = read_city_ids(text)
    if listed is None or len(listed) < 2:
        return None
    rows = [row_of(city_id, cities) for city_id in listed]
    reach = int(prompt.values["max_step"]) ** 2
    valid = 0
    for row, next_row in pairwise(rows):
        if row is None or next_row is None or row == next_row:
            continue
        across, up = cities.x[row] - cities.x[next_row], cities.y[row] - cities.y[next_row]
        valid += bool(across * across + up * up <= reach)
    asked = int(prompt.values["length"])
    return steps_mark(valid, len(listed) - 1, num_listed=len(listed), num_asked=asked)


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
    marking = Marking(
        metric="share of valid steps, less for a wrong length", failure=0.0, mark=_valid_steps
    )

    max_step: tuple[int, int] = between(50, 500, least=1)
    length: tuple[int, int] = between(5, 20, least=2)

    def questions(
        self, cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
    ) -> Iterator[Question]:
        """Draw a start and two numbers; each next city is any within reach, seen before or not."""
        neighbours = Neighbours(cities, reach=self.max_step[1])
        names = [city_text(city_id) for city_id in cities.city_ids.tolist()]
        for start in sampling.tuples(cities, num, 1, random)[:, 0].tolist():
            for _ in range(_MAX_TRIES):
                max_step = int(random.integers(*self.max_step, endpoint=True))
                if len(neighbours.within(start, 0, max_step)):
                    break
                start = int(sampling.tuples(cities, 1, 1, random)[0, 0])
            else:
                raise TaskError(
                    f"No walk was found among {_MAX_TRIES} starts: hardly any of these "
                    f"{len(cities)} cities has another within max_step, {list(self.max_step)}."
                )
            length = int(random.integers(*self.length, endpoint=True))
            walk = [start]
            for chance in random.random(length - 1).tolist():
                near = neighbours.within(walk[-1], 0, max_step)
                walk.append(int(near[int(chance * len(near))]))
            answer = ",".join([names[row] for row in walk])
            values = {"answer": answer, "max_step": max_step, "length": length}
            yield Question((), answer, values, (str(max_step), str(length)))
