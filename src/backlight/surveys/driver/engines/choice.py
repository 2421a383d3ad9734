"""Which engine measures a run."""

from typing import Any

from backlight.data.given import Given
from backlight.errors import ConfigError
from backlight.models.subject import Subject
from backlight.surveys.driver.declaration import Survey
from backlight.surveys.driver.engines.local import LocalWorkers
from backlight.surveys.driver.engines.task import Task, material_of
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.options import WorkerOptions
from backlight.surveys.driver.shardwise import Engine
from backlight.surveys.driver.starting import threads_each


def engine_of(
    survey: Survey,
    options: Any,
    subject: Subject | None,
    measurement: Measurement[Any, Any],
) -> Engine | None:
    """Choose who measures.

    Args:
        survey: Which survey.
        options: Its options.
        subject: A model that is already loaded; None for the one that the options name.
        measurement: The survey, ready to run.

    Returns:
        Who measures; None for this process.

    Raises:
        ConfigError: If others are to measure what is only in the memory of this process.
    """
    if not isinstance(options, WorkerOptions) or options.workers == 1:
        return None
    if subject is not None or isinstance(getattr(options, "dataset", None), Given):
        raise ConfigError(
            "workers: other processes cannot be given a model or data in memory; name them, or "
            "measure with workers=1."
        )
    task = Task(
        survey=survey,
        options=options,
        material=material_of(measurement),
        threads=threads_each(options),
    )
    return LocalWorkers(options.workers, task)
