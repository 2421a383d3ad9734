"""How good a model's answers are while it is trained: one row for each task and evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from backlight.objectives.prompts import Prompt
from backlight.tables import Table
from backlight.tools.train_world.options import TrainWorldConfig
from backlight.world.cities import Cities
from backlight.world.learning.evaluation import Evaluation, constant_answer, evaluate
from backlight.world.learning.questions import held_out_questions
from backlight.world.learning.training import WorldTraining
from backlight.world.questions.task import Task

_COLUMNS = (
    *("step", "num_rows", "num_cities", "loss", "task"),
    *(field.name for field in fields(Evaluation)),
)
_STATE = "metrics:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """Held-out questions of each task.

    Attributes:
        cities: Whom they are about.
        parts: Tasks, questions, and the answer that would be best if it were always the same.
    """

    cities: Cities
    parts: Sequence[tuple[Task, Sequence[Prompt], str]]

    @staticmethod
    def prepare(tasks: Sequence[Task], cities: Cities, config: TrainWorldConfig) -> "Examination":
        """Draw the questions."""
        parts: list[tuple[Task, Sequence[Prompt], str]] = []
        for index, task in enumerate(tasks):
            random = np.random.default_rng((config.seed, index))
            num, share = config.num_held_out, config.held_out
            prompts = held_out_questions(task, cities, num, random, held_out=share)
            parts.append((task, prompts, constant_answer(prompts)))
        return Examination(cities=cities, parts=parts)


@final
class Metrics:
    """The rows of the table, and the loss since the last one."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []

    def add(self, examination: Examination, training: WorldTraining) -> None:
        """Examine the model as it is.

        Args:
            examination: The questions.
            training: The model.
        """
        recent = training.losses[self._rows[-1][0] if self._rows else 0 :]
        loss = float(recent.mean()) if len(recent) else float("nan")
        head = (training.number, training.num_rows, training.num_cities, loss)
        for task, prompts, constant in examination.parts:
            evaluation = evaluate(
                training.model,
                training.tokenizer,
                task,
                examination.cities,
                prompts,
                constant=constant,
                max_tokens=max(len(prompt.answer) for prompt in prompts) + 2,
            )
            self._rows.append((*head, task.task_type, *astuple(evaluation)))

    def last(self) -> Sequence[Mapping[str, Any]]:
        """Return the rows of the last examination."""
        step = self._rows[-1][0]
        return [dict(zip(_COLUMNS, row, strict=True)) for row in self._rows if row[0] == step]

    def table(self) -> Table:
        """Return all rows as a table."""
        columns = zip(*self._rows, strict=True)
        return Table(
            name="metrics",
            columns={name: np.array(cells) for name, cells in zip(_COLUMNS, columns, strict=True)},
            units={"loss": "nats/token"},
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Copy the rows."""
        return {f"{_STATE}{name}": column for name, column in self.table().columns.items()}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what ``state`` gave."""
        columns = [state[f"{_STATE}{name}"].tolist() for name in _COLUMNS]
        self._rows = list(zip(*columns, strict=True))
