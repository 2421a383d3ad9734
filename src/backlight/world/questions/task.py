"""What the tasks of the city world share: how questions are drawn, written and marked."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

import numpy as np

from backlight.errors import TaskError, nearest, quoted
from backlight.objectives.prompts import Prompt
from backlight.world.cities import Cities
from backlight.world.questions.form import city_text, read_form
from backlight.world.questions.marking import Marking
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


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A family of questions about cities; the attributes of a task are its options.

    Attributes:
        task_type: The name of the family.
        form: How its questions are written (see ``form.py``).
        marking: How its answers are marked.
    """

    task_type: ClassVar[str]
    form: ClassVar[str]
    marking: ClassVar[Marking]

    def __post_init__(self) -> None:
        check_options(self, self.task_type)

    @property
    def metric(self) -> str:
        """What a mark is."""
        return self.marking.metric

    def draw(
        self,
        cities: Cities,
        num: int,
        random: np.random.Generator,
        *,
        sampling: Sampling | None = None,
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
        writer = _Writer(cities, self.form)
        return [
            writer.prompt(question)
            for question in self.questions(cities, num, random, sampling or AllPairs())
        ]

    def rows(
        self,
        cities: Cities,
        num: int,
        random: np.random.Generator,
        *,
        sampling: Sampling | None = None,
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
        names = [city_text(city_id) for city_id in cities.city_ids.tolist()]
        for question in self.questions(cities, num, random, sampling or AllPairs()):
            line = read_form(self.form, len(question.rows)).line
            texts = [names[row] for row in question.rows]
            yield line.format(*texts, *question.fields) + question.answer

    def score(self, prompt: Prompt, text: str, cities: Cities) -> float:
        """Mark an answer.

        Args:
            prompt: A question of this task, compact or spelled.
            text: What was answered; spaces do not count, nor what follows ``<eos>``.
            cities: The cities that the question was drawn from.

        Returns:
            The mark, in the sense of ``metric``; if the text is no answer, ``marking.failure``.
        """
        mark = self.marking.mark(prompt, compact(text), cities)
        return self.marking.failure if mark is None else mark

    @abstractmethod
    def questions(
        self, cities: Cities, num: int, random: np.random.Generator, sampling: Sampling
    ) -> Iterator[Question]:
        """Draw questions with their answers.

        Args:
            cities: The cities to ask about; also those that may be an answer.
            num: How many questions.
            random: Where chance comes from.
            sampling: Which cities may come together.

        Returns:
            The questions, one after another.
        """


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


class _Writer:
    """Writes questions about some cities."""

    def __init__(self, cities: Cities, form: str) -> None:
        self.form = form
        self.city_ids = cities.city_ids.tolist()
        self.x, self.y = cities.x.tolist(), cities.y.tolist()
        self.regions = cities.regions.tolist()

    def prompt(self, question: Question) -> Prompt:
        rows = question.rows
        city_ids = tuple([self.city_ids[row] for row in rows])
        values: dict[str, float | str] = dict(question.values)
        for number, row in enumerate(rows, start=1):
            values[f"city{number}_id"] = self.city_ids[row]
            values[f"city{number}_x"] = self.x[row]
            values[f"city{number}_y"] = self.y[row]
            values[f"city{number}_region"] = self.regions[row]
        return Prompt(
            pieces=read_form(self.form, len(rows)).pieces(city_ids, question.fields),
            answer=question.answer,
            wrong_answer=question.wrong_answer,
            values=values,
        )
