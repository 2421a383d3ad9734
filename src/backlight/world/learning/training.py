"""A training of the city model, step by step: a function of its options and of nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from backlight.errors import NonFiniteError, RunDirectoryError
from backlight.world.cities import Cities
from backlight.world.learning.loss import answer_loss, encode
from backlight.world.learning.optimizers import Optimizers, pace
from backlight.world.learning.questions import draw_rows
from backlight.world.questions.task import Task

_STEP, _GROWTH, _LOSSES, _COUNTS = "step", "growth", "losses", "counts"
_MODEL, _OPTIMIZERS = "model:", "optimizers:"
_MEMORY = 0.95  # what a step keeps of the running mean of the loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        num_steps: How many steps.
        rows_per_step: Questions of each task that are drawn for a step; held-out ones are dropped.
        questions_per_city: How many questions in a row share their first city.
        held_out: The share of all questions that is never learned from.
        learning_rate: Muon's, at its highest.
        vector_learning_rate: AdamW's, at its highest.
        warm_up: The share of the steps in which the learning rates rise.
        decay: The share of the steps at the end in which they fall to zero.
        first_cities: How many cities are asked about at first.
        grow_below: They become more in steps with a running loss below this.
        growth: By what share they become more.
        seed: Fixes the questions.
    """

    num_steps: int
    rows_per_step: int
    questions_per_city: int
    held_out: float
    learning_rate: float
    vector_learning_rate: float
    warm_up: float
    decay: float
    first_cities: int
    grow_below: float
    growth: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """How a step went.

    Attributes:
        num_tokens: From how many rows it learned: rows are what is counted here.
        resumable: Whether a training can be stopped after it.
    """

    num_tokens: int
    resumable: bool = True


@final
class GrowingCities:
    """The number of cities asked about: few at first, more as the model gets good at these.

    A model that is asked about thousands of cities from the start learns nothing for a long time:
    each city comes too rarely. With a few it finds out what the questions are about; further cities
    then only need a place in what it has found.

    Args:
        first: How many at first.
        all_cities: How many at last.
        below: They become more in each step in which the running mean of the loss is below this.
        rate: By what share they become more.
    """

    def __init__(self, first: int, all_cities: int, *, below: float, rate: float) -> None:
        self._number = float(min(first, all_cities))
        self._all_cities = all_cities
        self._below, self._rate = below, rate
        self._loss = float("inf")

    @property
    def number(self) -> int:
        """How many cities are asked about now."""
        return int(self._number)

    def update(self, loss: float) -> None:
        """Update the running mean of the loss by that of a step, in nats per token."""
        before = loss if self._loss == float("inf") else self._loss
        self._loss = _MEMORY * before + (1.0 - _MEMORY) * loss
        if self._loss < self._below:
            self._number = min(self._number * (1.0 + self._rate), float(self._all_cities))

    def state(self) -> NDArray[np.float64]:
        """Copy what is remembered."""
        return np.array([self._number, self._loss])

    def load(self, state: NDArray[np.float64]) -> None:
        """Restore what ``state`` returned."""
        self._number, self._loss = (float(value) for value in state)


@final
class WorldTraining:
    """A model on its way.

    Args:
        model: An untrained city model; it is changed in place.
        tokenizer: Its tokenizer.
        tasks: What it learns; each step has questions of every task.
        cities: Whom it learns about, from the first on.
        recipe: How.

    Attributes:
        number: How many steps are done.
        losses: The loss of each of them.
        num_rows: From how many rows the model has learned.
        num_cities: How many cities the last of them were about.
    """

    def __init__(
        self, model: Any, tokenizer: Any, tasks: Sequence[Task], cities: Cities, recipe: Recipe
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.number = 0
        self.losses = np.zeros(0)
        self._tasks, self._cities, self._recipe = tuple(tasks), cities, recipe
        self._optimizers = Optimizers(
            model,
            learning_rate=recipe.learning_rate,
            vector_learning_rate=recipe.vector_learning_rate,
        )
        self._growing = GrowingCities(
            recipe.first_cities, len(cities), below=recipe.grow_below, rate=recipe.growth
        )
        self.num_rows, self.num_cities = 0, self._growing.number
        self._asked = cities.take(range(self.num_cities))

    def steps(self) -> Iterator[TrainingStep]:
        """Go on until all steps are done.

        Yields:
            How each step went, after it is done.
        """
        while self.number < self._recipe.num_steps:
            yield self._step()

    def state(self) -> dict[str, NDArray[Any]]:
        """Copy all that the rest of the training depends on."""
        weights = self.model.state_dict().items()
        memory = self._optimizers.state().items()
        return {
            _STEP: np.array(self.number),
            _GROWTH: self._growing.state(),
            _LOSSES: self.losses.copy(),
            _COUNTS: np.array([self.num_rows, self.num_cities]),
            **{f"{_MODEL}{name}": tensor.numpy().copy() for name, tensor in weights},
            **{f"{_OPTIMIZERS}{name}": array for name, array in memory},
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what ``state`` returned.

        Args:
            state: The state of a training with the same options.

        Raises:
            RunDirectoryError: If the state is of another kind of training.
        """
        weights = {
            name: torch.from_numpy(np.array(array)) for name, array in _part(state, _MODEL).items()
        }
        if _STEP not in state or set(weights) != set(self.model.state_dict()):
            raise RunDirectoryError(
                "The state of the training does not fit the model; start anew with --overwrite."
            )
        self.model.load_state_dict(weights)
        self._optimizers.load(_part(state, _OPTIMIZERS))
        self._growing.load(state[_GROWTH])
        self.number, self.losses = int(state[_STEP]), state[_LOSSES]
        self.num_rows, self.num_cities = state[_COUNTS].tolist()

    def _step(self) -> TrainingStep:
        recipe = self._recipe
        self.num_cities = self._growing.number
        if self.num_cities != len(self._asked):
            self._asked = self._cities.take(range(self.num_cities))
        learned = [self._learn(index, task) for index, task in enumerate(self._tasks)]
        loss = float(np.mean([loss for loss, _ in learned]))
        if not np.isfinite(loss):
            raise NonFiniteError(
                f"The loss is not finite after {self.number} steps. Lower --learning_rate (now "
                f"{recipe.learning_rate:g}) or --vector_learning_rate (now "
                f"{recipe.vector_learning_rate:g})."
            )
        done = (self.number + 0.5) / recipe.num_steps
        self._optimizers.step(pace(done, warm_up=recipe.warm_up, decay=recipe.decay))
        self._growing.update(loss)
        self.losses = np.append(self.losses, loss)
        self.number += 1
        num_rows = sum(num for _, num in learned)
        self.num_rows += num_rows
        return TrainingStep(num_tokens=num_rows)

    def _learn(self, index: int, task: Task) -> tuple[float, int]:
        """Add the gradient of a task's rows; return their loss and their number."""
        recipe = self._recipe
        rows = draw_rows(
            task,
            self._asked,
            recipe.rows_per_step,
            np.random.default_rng((recipe.seed, index, self.number)),
            questions_per_city=recipe.questions_per_city,
            held_out=recipe.held_out,
        )
        loss = answer_loss(self.model, encode(rows, self.tokenizer))
        loss.backward()
        return loss.item(), len(rows)


def _part(state: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
    }
