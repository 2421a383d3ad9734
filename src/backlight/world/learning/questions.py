"""Rows to learn from, many with their first city in common, and questions never learned from."""

import zlib
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from backlight.errors import TaskError
from backlight.objectives.prompts import Prompt
from backlight.world.cities import Cities
from backlight.world.questions.distinct import Rows, too_few
from backlight.world.questions.sampling import Sampling
from backlight.world.questions.task import Task

_PATIENCE = 20  # how often to draw
_SEPARATORS = str.maketrans(";", ",")


@final
@dataclass(frozen=True)
class Spokes(Sampling):
    """Some questions in a row have the same first city; apart from that cities are any.

    The same pair may be drawn again: there are more steps of a training than that would matter.

    Attributes:
        questions_per_city: How many questions in a row share their first city.
    """

    questions_per_city: int

    def tuples(self, cities: Cities, num: int, size: int, random: Generator) -> Rows:
        """Draw first cities, then others that differ from each other."""
        if len(cities) < size:
            raise TaskError(too_few(size, len(cities), "there are"))
        rows = random.integers(len(cities), size=(num, size))
        rows[:, 0] = np.repeat(rows[:: self.questions_per_city, 0], self.questions_per_city)[:num]
        # Drawing anew only where a city stands twice keeps all other choices equally likely; the
        # first city stays, so that it is still shared.
        while (twice := (np.diff(np.sort(rows, axis=1), axis=1) == 0).any(axis=1)).any():
            rows[twice, 1:] = random.integers(len(cities), size=(int(twice.sum()), size - 1))
        return rows

    def pairs(self, cities: Cities, num: int, random: Generator) -> Rows:
        """Draw pairs of different cities."""
        return self.tuples(cities, num, 2, random)

    def allowed(self, cities: Cities) -> NDArray[np.bool_]:
        """Return that any two may come together."""
        return np.ones((len(cities), len(cities)), dtype=np.bool_)


def is_held_out(row: str, share: float) -> bool:
    """Decide whether a question is held out, from its text alone.

    The order of what stands in the parentheses does not count, and neither does the task: whether
    ``dist(c_0001,c_0002)=``, ``dist(c_0002,c_0001)=`` and ``compass(c_0001,c_0002)=`` are held
    out is one choice.

    Args:
        row: A compact question, with or without its answer.
        share: The share of all questions that is held out.

    Returns:
        Whether this one is.
    """
    # A checksum spreads over 32 bits as evenly as chance does, and is the same on every machine and
    # in every run, which Python's own hash of a text is not.
    inner = row.partition("(")[2].partition(")")[0]
    terms = ",".join(sorted(inner.translate(_SEPARATORS).split(",")))
    return zlib.crc32(terms.encode()) < share * 2**32


def draw_rows(
    task: Task,
    cities: Cities,
    num: int,
    random: Generator,
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
    task: Task, cities: Cities, num: int, random: Generator, *, held_out: float
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
