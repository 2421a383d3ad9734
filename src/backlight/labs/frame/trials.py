"""Trials of every condition of an experiment, with several seeds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from backlight.labs.frame.notebook import Notebook

Arrays = Mapping[str, NDArray[Any]]
"""What a trial measured, by name; of several seeds, with the seeds as the first axis."""

Condition = TypeVar("Condition")


def repeat(
    notebook: Notebook,
    trial: Callable[[Condition, int], Arrays],
    conditions: Iterable[Condition],
    seeds: Sequence[int],
    named: Callable[[Condition], str] = str,
) -> dict[Condition, Arrays]:
    """Carry out a trial under each condition with each seed.

    Args:
        notebook: Where trials are carried out.
        trial: Takes a condition and a seed; it draws all its chance from that seed.
        conditions: What is compared.
        seeds: The same for every condition.
        named: Writes a condition; the trial is called ``{condition}, seed {seed}``.

    Returns:
        Of each condition the arrays of all its seeds, stacked.
    """
    conditions = list(conditions)
    found = notebook.carry_out(
        {
            f"{named(condition)}, seed {seed}": partial(trial, condition, seed)
            for condition in conditions
            for seed in seeds
        }
    )
    trials, size = list(found.values()), len(seeds)
    return {
        condition: over_trials(trials[row * size : (row + 1) * size])
        for row, condition in enumerate(conditions)
    }


def over_trials(trials: Sequence[Arrays]) -> Arrays:
    """Stack the arrays of trials that have the same names."""
    return {name: np.array([trial[name] for trial in trials]) for name in trials[0]}
