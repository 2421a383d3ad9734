"""``backlight train-world``: a small model of a world that is known to the last digit."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from backlight.errors import ConfigError
from backlight.runs.directory import RunDirectory
from backlight.runs.places import refuse_url
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.options.reading import resolve, same_numbers
from backlight.surveys.driver.starting import begin, find_run
from backlight.surveys.driver.words.progress import Bar, restore_checkpoint
from backlight.tables import Table
from backlight.tools.train_world.card import card_of
from backlight.tools.train_world.metrics import Metrics, prepare_exams
from backlight.tools.train_world.options import TrainWorldConfig
from backlight.tools.train_world.table import print_examination, print_trained
from backlight.tools.train_world.trained import (
    FINAL,
    TrainedWorld,
    checkpoint_name,
    load_final,
    save_model,
)
from backlight.world import CITIES
from backlight.world.cities import Cities, read_cities
from backlight.world.learning.evaluation import Exam
from backlight.world.learning.training import Recipe, TrainingStep, WorldTraining
from backlight.world.model import city_tokenizer, new_city_model
from backlight.world.questions.catalogue import find_task

_COMMAND = "train-world"


def train_world(config: str | Path | None = None, **options: Any) -> TrainedWorld:
    """Train the city model, with checkpoints on the way.

    The same as the command ``backlight train-world``, for notebooks and scripts.

    Args:
        config: A YAML file of options, if any.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        The trained model, and how good it was on the way.

    Examples:
        Two steps of a tiny model; it prints a line for each examination.

        >>> import tempfile
        >>> small = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "num_held_out": 8}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trained = train_world(num_steps=2, output_dir=f"{folder}/run", **small)
        step      0 ... distance, ... median ...
        step      2 ... distance, ... median ...
        >>> trained.model.config.num_hidden_layers
        2
    """
    return _train(resolve(TrainWorldConfig, config, options))


def run(config: TrainWorldConfig) -> None:
    """Carry out ``backlight train-world``, and print how good the model is.

    Args:
        config: Its options.
    """
    print_trained(_train(config))


def _train(config: TrainWorldConfig) -> TrainedWorld:
    clock = Clock()
    if config.output_dir is not None:
        refuse_url(config.output_dir)
    found = find_run(config, _COMMAND)
    if found is not None and found.is_finished:
        return _finished(found, clock)
    cities, digest = _cities_of(config)
    session = _prepare(config, cities)
    known = {"cities": {"num_cities": len(cities), "sha256": digest}}
    directory = begin(config, _COMMAND, "world", found, known)
    assert directory is not None, "a training always has a directory"
    session.enter(directory)
    clock.lap("preparation")
    rows = len(config.tasks) * config.rows_per_step
    bar = Bar(
        "Training",
        total=rows * config.num_steps,
        done=rows * session.training.number,
        unit="rows",
        run=directory,
        state=session,
    )
    with bar:
        for step in session.steps(directory):
            bar.after(step)
        bar.keep()
    clock.lap("training")
    trained = TrainedWorld(
        path=Path(directory.path),
        model=session.training.model,
        tokenizer=session.training.tokenizer,
        metrics=session.metrics.table(),
        seconds=clock.laps,
    )
    save_model(directory, FINAL, trained.model, trained.tokenizer)
    directory.write_text("README.md", card_of(trained, config, len(cities), session.metrics.last()))
    directory.finish({"seconds": clock.laps, "final": session.metrics.last()})
    return trained


def _finished(run: RunDirectory, clock: Clock) -> TrainedWorld:
    """Read a training back that has come to its end."""
    results = Table.from_csv("metrics", run.read("tables/metrics.csv").decode())
    model = load_final(run)
    clock.lap("reading")
    return TrainedWorld(
        path=Path(run.path),
        model=model,
        tokenizer=city_tokenizer(),
        metrics=results,
        seconds=clock.laps,
    )


def _prepare(config: TrainWorldConfig, cities: Cities) -> "_Session":
    tasks = [find_task(name) for name in config.tasks]
    model = new_city_model(
        config.seed,
        init_scale=config.init_scale,
        max_positions=config.max_positions,
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
    )
    training = WorldTraining(model, city_tokenizer(), tasks, cities, _recipe_of(config))
    exams = prepare_exams(tasks, cities, config)
    _refuse_long_questions(config, exams)
    return _Session(config, training, exams)


class _Session:
    """A training with what is measured on the way: what is kept when it is stopped."""

    def __init__(
        self, config: TrainWorldConfig, training: WorldTraining, exams: Sequence[Exam]
    ) -> None:
        self.metrics, self.training = Metrics(), training
        self._config, self._exams = config, exams

    def enter(self, run: RunDirectory) -> None:
        """Begin, or take up the state of a run that was stopped."""
        if restore_checkpoint(run, self):
            run.write_table(self.metrics.table())
        else:
            save_model(run, checkpoint_name(0), self.training.model, self.training.tokenizer)
            self._examine(run)

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take up what ``state`` copied."""
        self.training.load(state)
        self.metrics.load(state)

    def steps(self, run: RunDirectory) -> Iterator[TrainingStep]:
        """Train, examine and save models."""
        for step in self.training.steps():
            number = self.training.number
            is_last = number == self._config.num_steps
            if is_last or number % self._config.evaluate_every == 0:
                self._examine(run)
            if not is_last and number % self._config.checkpoint_every == 0:
                name = checkpoint_name(number)
                save_model(run, name, self.training.model, self.training.tokenizer)
            yield step

    def state(self) -> dict[str, NDArray[Any]]:
        """Copy all that the rest of the run depends on."""
        return {**self.training.state(), **self.metrics.state()}

    def _examine(self, run: RunDirectory) -> None:
        self.metrics.add(self._exams, self.training)
        run.write_table(self.metrics.table())
        print_examination(self.metrics.last())


def _cities_of(config: TrainWorldConfig) -> tuple[Cities, str]:
    path = config.cities_csv or CITIES
    return read_cities(path), hashlib.sha256(path.read_bytes()).hexdigest()


def _refuse_long_questions(config: TrainWorldConfig, exams: Sequence[Exam]) -> None:
    for exam in exams:
        longest = max(len(prompt.text) + len(prompt.answer) + 2 for prompt in exam.prompts)
        if longest > config.max_positions:
            raise ConfigError(
                f"Questions of {exam.task.task_type!r} have up to {longest} tokens with their "
                f"answers, but the model reads {config.max_positions}: raise --max_positions."
            )


def _recipe_of(config: TrainWorldConfig) -> Recipe:
    options = same_numbers(config)
    return Recipe(**{name: options[name] for name in Recipe.__dataclass_fields__})
