"""What everyone who measures shards of a run is told, and how any of them measures one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from backlight.errors import RunDirectoryError
from backlight.models.lending import borrowed
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.declaration import Survey
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.opening import Opening

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every worker of a run is told when it starts.

    Attributes:
        survey: Which survey.
        options: Its options.
        material: Where the driver's numbers come from; the worker's must come from the same.
        threads: How many threads it computes with.
    """

    survey: Survey
    options: Any
    material: Mapping[str, Any]
    threads: int


def material_of(measurement: Measurement[Any, Any]) -> dict[str, Any]:
    """Describe where the numbers of a measurement come from: model, text, and how it is cut."""
    sharding = measurement.sharding
    cut = {} if sharding is None else sharding.material
    return {**measurement.corpus.material, **measurement.material, **cut}


def measuring(task: Task) -> Callable[[int], Arrays]:
    """Open model and text, and return what measures any one shard.

    Args:
        task: What is measured.

    Returns:
        Takes the number of a shard and returns the state of what was seen of it.

    Raises:
        RunDirectoryError: If the model or the text is not the driver's.
    """
    torch.set_num_threads(task.threads)
    opening = Opening(task.options, None, Clock())
    measurement = task.survey.door("measure").prepare(task.options, opening)
    sharding = measurement.sharding
    assert sharding is not None, "a survey that is not cut into shards has no workers"
    for what, here in material_of(measurement).items():
        if task.material.get(what) != here:
            raise RunDirectoryError(f"A worker was given another {what} than the run began with.")

    def measure(shard: int) -> Arrays:
        state = sharding.fresh()
        with borrowed(measurement.corpus.subject.model):
            for _ in sharding.measure(shard, state):
                pass
        return state.state()

    return measure
