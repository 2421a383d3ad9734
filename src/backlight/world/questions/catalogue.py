"""Every task by its name."""

from collections.abc import Mapping
from types import MappingProxyType

from backlight.errors import TaskError, nearest, quoted
from backlight.world.questions.judgements import Crossing, Inside
from backlight.world.questions.lists import Center, Perimeter
from backlight.world.questions.measures import Angle, Compass, Distance, TriangleArea
from backlight.world.questions.nearby import CircleCount, NearestNeighbor, RandomWalk, RandRing
from backlight.world.questions.task import Task

TASKS: Mapping[str, Task] = MappingProxyType(
    {
        task.task_type: task
        for task in (
            Distance(),
            TriangleArea(),
            Angle(),
            Compass(),
            Crossing(),
            Inside(),
            Perimeter(),
            NearestNeighbor(),
            RandomWalk(),
            Center(),
            CircleCount(),
            RandRing(),
        )
    }
)
"""Every task by its name, with the options it has when nothing is changed."""


def find_task(name: str) -> Task:
    """Find a task.

    Args:
        name: Its ``task_type``.

    Returns:
        The task with its usual options.

    Raises:
        TaskError: If there is no such task.
    """
    if name not in TASKS:
        hint = nearest(name, list(TASKS))
        raise TaskError(
            f"There is no task {quoted(name)} among the {len(TASKS)}: {', '.join(TASKS)}. "
            f"{hint}".strip()
        )
    return TASKS[name]
