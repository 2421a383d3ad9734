"""What everyone who measures shards of a run is told, and how any of them measures one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from numpy.typing import NDArray

from backlight.errors import RunDirectoryError, WorkerError
from backlight.models.lending import borrowed
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.declaration import Survey
from backlight.surveys.driver.material.opening import Opening
from backlight.surveys.driver.measurement import Measurement

Arrays = Mapping[str, NDArray[Any]]

VERSION = version("backlight")
"""That of the package in this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every worker of a run is told when it starts.

    Attributes:
        survey: Which survey.
        options: Its options.
        material: Where the driver's numbers come from; the worker's must come from the same.
        threads: How many threads it computes with.
        version: The driver's version of backlight; the worker's must be the same.
    """

    survey: Survey
    options: Any
    material: Mapping[str, Any]
    threads: int
    version: str = VERSION


def material_of(measurement: Measurement[Any, Any]) -> dict[str, Any]:
    """Describe where the numbers of a measurement come from: model, text, and how it is cut."""
    cut = measurement.sharding.material
    return {**measurement.corpus.material, **measurement.material, **cut}


def measuring(task: Task) -> Callable[[int], Arrays]:
    """Open model and text, and return what measures any one shard.

    Args:
        task: What is measured.

    Returns:
        Takes the number of a shard and returns the state of what was seen of it.

    Raises:
        RunDirectoryError: If the model or the text is not the driver's.
        WorkerError: If this is another version of backlight than the driver's.
    """
    if task.version != VERSION:
        raise WorkerError(
            f"A worker has backlight {VERSION}, but the run was begun with {task.version}; "
            "install the same on every machine."
        )
    torch.set_num_threads(task.threads)
    opening = Opening(task.options, None, Clock())
    measurement = task.survey.door("measure").prepare(task.options, opening)
    sharding = measurement.sharding
    for what, here in material_of(measurement).items():
        if _but_device(task.material.get(what)) != _but_device(here):
            raise RunDirectoryError(f"A worker was given another {what} than the run began with.")

    def measure(shard: int) -> Arrays:
        state = sharding.fresh()
        with borrowed(measurement.corpus.subject.model):
            for _ in sharding.measure(shard, state):
                pass
        return state.state()

    return measure


def _but_device(told: Any) -> Any:
    """Leave out of a description of a model where it was loaded: workers have their own device."""
    if not isinstance(told, Mapping):
        return told
    return {what: each for what, each in told.items() if what != "device"}
