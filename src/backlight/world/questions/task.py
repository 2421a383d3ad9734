"""What the tasks of the city world share: how questions are drawn, written and scored."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from backlight.errors import TaskError, nearest, quoted
from backlight.objectives.prompts import Prompt
from backlight.world.cities import Cities, city_text
from backlight.world.questions.evaluation import Metric
from backlight.world.questions.form import read_form
from backlight.world.questions.geometry import points_of
from backlight.world.questions.options import check_option, check_options
from backlight.world.questions.sampling import AllPairs, Sampling
from backlight.world.questions.spelling import compact

TaskT = TypeVar("TaskT", bound="Task")


@dataclass(frozen=True, slots=True)
class Question:
    """A question before it is written.

    Attributes:
        rows: The rows of its cities, in order of appearance.
        answer: The right answer as it is written.
        values: What is known about it besides its cities; ``answer`` is a number if it is one.
        fields: What is filled into its fields, in order.
        wrong_answer: Another answer, where there are only two.
    """

    rows: tuple[int, ...]
    answer: str
    values: Mapping[str, float | str]
    fields: tuple[str, ...] = ()
    wrong_answer: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Source:
    """Where questions come from.

    Attributes:
        cities: The cities to ask about; also those that may be an answer.
        sampling: Which cities may come together.
        random: Where chance comes from.
    """

    cities: Cities
    sampling: Sampling
    random: Generator

    @cached_property
    def points(self) -> NDArray[np.int64]:
        """Where the cities are, a row for each."""
        return points_of(self.cities)

    @cached_property
    def names(self) -> list[str]:
        """The cities as questions and answers name them."""
        return [city_text(city_id) for city_id in self.cities.city_ids.tolist()]

    def listed(self, rows: Sequence[int]) -> str:
        """Write the cities of these rows with commas between them."""
        return ",".join([self.names[row] for row in rows])

    def tuples(self, num: int, size: int) -> NDArray[np.int64]:
        """Draw ``size`` different cities for each of ``num`` questions."""
        return self.sampling.tuples(self.cities, num, size, self.random)

    def pairs(self, num: int) -> NDArray[np.int64]:
        """Draw pairs of different cities, no pair twice."""
        return self.sampling.pairs(self.cities, num, self.random)


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A family of questions about cities; the attributes of a task are its options.

    Attributes:
        task_type: The name of the family.
        form: How its questions are written (see ``form.py``).
        metric: How its answers are scored.
    """

    task_type: ClassVar[str]
    form: ClassVar[str]
    metric: ClassVar[Metric]

    def __post_init__(self) -> None:
        check_options(self, self.task_type)

    def draw(
        self, cities: Cities, num: int, random: Generator, *, sampling: Sampling | None = None
    ) -> list[Prompt]:
        """Draw questions as structured prompts.

        Args:
            cities: The cities to ask about; also those that may be an answer.
            num: How many questions.
            random: Where chance comes from; the same state gives the same questions.
            sampling: Which cities may come together; any, if None.

        Returns:
            The prompts, without spaces.

        Raises:
            TaskError: If these cities do not have such questions, or not that many.
        """
        known: dict[str, list[Any]] = {
            "id": cities.city_ids.tolist(),
            "x": cities.x.tolist(),
            "y": cities.y.tolist(),
            "region": cities.regions.tolist(),
        }
        questions = self.questions(Source(cities, sampling or AllPairs(), random), num)
        return [self._prompt(question, known) for question in questions]

    def rows(
        self, cities: Cities, num: int, random: Generator, *, sampling: Sampling | None = None
    ) -> Iterator[str]:
        """Draw the same questions as ``draw`` does, as text with the answer: for training.

        Args:
            cities: The cities to ask about; also those that may be an answer.
            num: How many questions.
            random: Where chance comes from; do not use it until the last row is drawn.
            sampling: Which cities may come together; any, if None.

        Yields:
            Rows such as ``dist(c_0865,c_1234)=769``.

        Raises:
            TaskError: If these cities do not have such questions, or not that many.
        """
        source = Source(cities, sampling or AllPairs(), random)
        for question in self.questions(source, num):
            line = read_form(self.form, len(question.rows)).line
            texts = [source.names[row] for row in question.rows]
            yield line.format(*texts, *question.fields) + question.answer

    def score(self, prompt: Prompt, text: str, cities: Cities) -> float:
        """Score an answer.

        Args:
            prompt: A question of this task, compact or spelled.
            text: What was answered; spaces do not count, nor what follows ``<eos>``.
            cities: The cities that the question was drawn from.

        Returns:
            The score, in the sense of ``metric``; if the text is no answer, ``metric.failure``.
        """
        score = self.metric.score(prompt, compact(text), cities)
        return self.metric.failure if score is None else score

    @abstractmethod
    def questions(self, source: Source, num: int) -> Iterator[Question]:
        """Draw questions with their answers.

        Args:
            source: Where they come from.
            num: How many.

        Returns:
            The questions, one after another.
        """

    def _prompt(self, question: Question, known: Mapping[str, list[Any]]) -> Prompt:
        city_ids = tuple([known["id"][row] for row in question.rows])
        values = dict(question.values)
        for number, row in enumerate(question.rows, start=1):
            for name, column in known.items():
                values[f"city{number}_{name}"] = column[row]
        return Prompt(
            pieces=read_form(self.form, len(city_ids)).pieces(city_ids, question.fields),
            answer=question.answer,
            wrong_answer=question.wrong_answer,
            values=values,
        )


def with_options(task: TaskT, options: Mapping[str, Any]) -> TaskT:
    """Change options of a task.

    Args:
        task: The task.
        options: Options by name, as a configuration has them: a range is a list of two numbers.

    Returns:
        The task with these options.

    Raises:
        TaskError: If there is no such option, or it has no such value.
    """
    known = {option.name: option for option in fields(task)}
    for name in options:
        if name not in known:
            exist = f"only {', '.join(known)}" if known else "nor any other"
            hint = nearest(str(name), list(known))
            raise TaskError(
                f"The task {task.task_type} has no option {quoted(name)}, {exist}. {hint}".strip()
            )
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
    for name, value in values.items():
        check_option(known[name], value, task.task_type)
    return replace(task, **values)


def places_of_sizes(sizes: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Go through sizes from the smallest on, each with the places where it stands."""
    for size in np.unique(sizes).tolist():
        yield size, np.flatnonzero(sizes == size)
