"""Twelve families of questions about cities on a flat map, with their answers.

A task draws questions from cities (``draw`` as structured prompts, ``rows`` as text) and marks
answers (``score``). Distances are in 0.1 degree of longitude and latitude, as if the map were
flat: they are no kilometres, and the shortest way never crosses the edge of the map.

============== ======================================== ==================================
task           question                                 answer
============== ======================================== ==================================
distance       ``dist(c_0865,c_1234)=``                 ``769``
trianglearea   ``triarea(c_0865,c_1234,c_0007)=``       ``52110``
angle          ``angle(c_0865,c_1234,c_0007)=``         degrees at the second: ``90``
compass        ``compass(c_0865,c_1234)=``              second seen from the first: ``NE``
crossing       ``cross(c_0865,c_1234;c_0007,c_0100)=``  ``TRUE`` or ``FALSE``
inside         ``inside(c_0865;c_1234,c_0007,c_0100)=`` ``TRUE`` or ``FALSE``
perimeter      ``perimeter(c_0865,c_1234,c_0007)=``     ``1538``
nearest_...    ``nearest(c_0865,2)=``                   ``c_1234,c_0007``
randomwalk     ``rw(120,3)=``                           ``c_0865,c_1234,c_0865``
center         ``center(c_0865,c_1234;in=TRUE)=``       ``c_0865``
circlecount    ``circlecount(c_0865,r=50)=``            ``3``
randring       ``randring(c_0865,r=50,R=90,n=2)=``      ``c_1234,c_0007``
============== ======================================== ==================================
"""

from collections.abc import Mapping
from types import MappingProxyType

from backlight.errors import TaskError, nearest, quoted
from backlight.world.questions.judgements import Crossing, Inside
from backlight.world.questions.lists import Center, Perimeter
from backlight.world.questions.pairs import Compass, Distance
from backlight.world.questions.selection import Pattern, select
from backlight.world.questions.spelling import loss_mask, spell, spell_row
from backlight.world.questions.surroundings import CircleCount, NearestNeighbor, RandRing
from backlight.world.questions.task import Task, with_options
from backlight.world.questions.triples import Angle, TriangleArea
from backlight.world.questions.walks import RandomWalk

__all__ = [
    "TASKS",
    "Pattern",
    "Task",
    "find_task",
    "loss_mask",
    "select",
    "spell",
    "spell_row",
    "with_options",
]

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
