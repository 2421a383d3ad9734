"""Trials of every condition of an experiment, with several seeds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.surveys.driver.trials import TrialRunner

Arrays = Mapping[str, NDArray[Any]]
"""What a trial measured, by name; of several seeds, with the seeds as the first axis."""

Condition = dict[str, Any]
"""What is compared, by the names of columns."""

Found = Sequence[tuple[Condition, Arrays]]
"""What all seeds of each condition measured."""


def repeat(
    runner: TrialRunner,
    trial: Callable[..., Arrays],
    axes: Mapping[str, Iterable[Any]],
    seeds: Sequence[int],
    named: str,
) -> Found:
    """Carry out a trial under each condition with each seed, and stack what it measured.

    Args:
        runner: Where trials are carried out.
        trial: Takes the words of a condition and ``seed``, from which it draws all its chance; it
            always measures the same quantities.
        axes: What is varied, by the names of the trial's arguments; each combination of values is a
            condition.
        seeds: The same for every condition.
        named: The name of a trial, with names of arguments in braces, as for ``str.format``.

    Returns:
        Each condition with what all its seeds measured.
    """
    conditions = [dict(zip(axes, words, strict=True)) for words in product(*axes.values())]
    asked = [{**condition, "seed": seed} for condition in conditions for seed in seeds]
    found = runner.carry_out({named.format(**words): partial(trial, **words) for words in asked})

    def of_seeds(condition: Condition) -> Arrays:
        return over_trials([found[named.format(**condition, seed=seed)] for seed in seeds])

    return [(condition, of_seeds(condition)) for condition in conditions]


def over_trials(trials: Sequence[Arrays]) -> Arrays:
    """Stack the arrays of trials that measured the same."""
    return {name: np.array([trial[name] for trial in trials]) for name in trials[0]}
