"""Which engine measures a run."""

from dataclasses import replace
from typing import Any

import torch

from backlight.data.given import Given
from backlight.errors import ConfigError
from backlight.models.subject import Subject
from backlight.surveys.driver.declaration import Survey
from backlight.surveys.driver.engines.actors import RayActors
from backlight.surveys.driver.engines.cluster import refuse_unreachable
from backlight.surveys.driver.engines.local import LocalWorkers
from backlight.surveys.driver.engines.task import Task, material_of
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.options.workers import WorkerOptions
from backlight.surveys.driver.shards.shardwise import Engine
from backlight.surveys.driver.starting import threads_each


def refuse_elsewhere(options: Any, subject: Subject | None) -> None:
    """Refuse what other processes cannot measure, before anything is loaded.

    Args:
        options: The options of a survey.
        subject: A model that is already loaded; None for the one that the options name.

    Raises:
        ConfigError: If they were to measure what is only in the memory of this process, or Ray is
            not installed.
        WorkerError: If nobody answers at the address of the cluster.
    """
    if not _is_elsewhere(options):
        return
    if subject is not None or isinstance(getattr(options, "dataset", None), Given):
        raise ConfigError(
            "workers: other processes cannot be given a model or data in memory; name them, or "
            "measure with workers=1 and without a cluster."
        )
    if options.cluster is not None:
        refuse_unreachable(options.cluster)


def engine_of(survey: Survey, options: Any, measurement: Measurement[Any, Any]) -> Engine | None:
    """Choose who measures.

    Args:
        survey: Which survey.
        options: Its options.
        measurement: The survey, ready to run.

    Returns:
        Who measures; None for this process.
    """
    if not _is_elsewhere(options):
        return None
    task = Task(
        survey=survey,
        options=options,
        material=material_of(measurement),
        threads=threads_each(options),
    )
    if options.cluster is not None:
        return RayActors(options.cluster, options.workers, task)
    return LocalWorkers(spread(task, options.workers, torch.cuda.device_count()))


def spread(task: Task, num_workers: int, num_devices: int) -> list[Task]:
    """Give each worker of this machine a device of its own, as far as there are several.

    Args:
        task: What every worker is told.
        num_workers: How many there are.
        num_devices: How many GPUs this machine has.

    Returns:
        What each is told.
    """
    if num_devices < 2 or task.options.device not in ("auto", "cuda"):
        return [task] * num_workers
    return [
        replace(task, options=task.options.model_copy(update={"device": f"cuda:{place}"}))
        for place in (worker % num_devices for worker in range(num_workers))
    ]


def _is_elsewhere(options: Any) -> bool:
    return isinstance(options, WorkerOptions) and (
        options.workers > 1 or options.cluster is not None
    )
