"""How good a model's answers are while it is trained: one row for each task and evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from backlight.tables import Table
from backlight.tools.train_world.options import TrainWorldConfig
from backlight.world.cities import Cities
from backlight.world.learning.evaluation import Evaluation, Exam
from backlight.world.learning.questions import held_out_questions
from backlight.world.learning.training import WorldTraining
from backlight.world.questions.task import Task

_COLUMNS = (
    *("step", "num_rows", "num_cities", "loss", "task"),
    *(field.name for field in fields(Evaluation)),
)
_STATE = "metrics:"


def prepare_exams(
    tasks: Sequence[Task], cities: Cities, config: TrainWorldConfig
) -> Sequence[Exam]:
    """Draw held-out questions of each task.

    Args:
        tasks: The tasks.
        cities: Whom to ask about.
        config: How many questions, and from which share.

    Returns:
        An exam for each task.
    """
    exams: list[Exam] = []
    for index, task in enumerate(tasks):
        random = np.random.default_rng((config.seed, index))
        num, share = config.num_held_out, config.held_out
        prompts = held_out_questions(task, cities, num, random, held_out=share)
        exams.append(Exam(task=task, cities=cities, prompts=prompts))
    return exams


@final
class Metrics:
    """The rows of the table, and the loss since the last one."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []

    def add(self, exams: Sequence[Exam], training: WorldTraining) -> None:
        """Examine the model as it is.

        Args:
            exams: The questions.
            training: The model.
        """
        recent = training.losses[self._rows[-1][0] if self._rows else 0 :]
        loss = float(recent.mean()) if len(recent) else float("nan")
        head = (training.number, training.num_rows, training.num_cities, loss)
        for exam in exams:
            evaluation = exam.evaluate(training.model, training.tokenizer)
            self._rows.append((*head, exam.task.task_type, *astuple(evaluation)))

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
        """Restore what ``state`` returned."""
        columns = [state[f"{_STATE}{name}"].tolist() for name in _COLUMNS]
        self._rows = list(zip(*columns, strict=True))
