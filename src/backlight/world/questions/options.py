"""Options of tasks: what may be changed, and what it may be."""

from collections.abc import Callable, Sequence
from dataclasses import Field, field, fields
from typing import TYPE_CHECKING, Any

from backlight.errors import TaskError, quoted

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def between(low: int, high: int, *, least: int) -> Any:
    """Define an option that is a range of whole numbers, ends included, none below ``least``."""

    def fits(value: Any) -> bool:
        is_pair = isinstance(value, Sequence) and len(value) == 2
        return is_pair and all(map(_is_whole, value)) and least <= value[0] <= value[1]

    wanted = f"a range of whole numbers of at least {least}, such as [{least}, 9]"
    return _option((low, high), fits, wanted)


def count(default: int, *, least: int) -> Any:
    """Define an option that is a whole number of at least ``least``."""
    wanted = f"a whole number of at least {least}"
    return _option(default, lambda value: _is_whole(value) and value >= least, wanted)


def share(default: float) -> Any:
    """Define an option that is a share of the questions, from 0 to 1."""

    def fits(value: Any) -> bool:
        return (_is_whole(value) or isinstance(value, float)) and 0 <= value <= 1

    return _option(default, fits, "a number from 0 to 1")


def flag(default: bool) -> Any:
    """Define an option that is true or false."""
    return _option(default, lambda value: isinstance(value, bool), "true or false")


def check_options(task: "DataclassInstance", task_type: str) -> None:
    """Check every option of a task.

    Args:
        task: The task.
        task_type: Its name.

    Raises:
        TaskError: If an option has a value that it cannot have.
    """
    for option in fields(task):
        check_option(option, getattr(task, option.name), task_type)
    least, most = getattr(task, "min_n", 0), getattr(task, "max_n", 0)
    if least > most:
        raise TaskError(
            f"The option 'min_n' of the task {task_type} is {least}, more than 'max_n', {most}."
        )


def check_option(option: Field[Any], value: Any, task_type: str) -> None:
    """Check the value of one option.

    Args:
        option: The option.
        value: What it is to be.
        task_type: The name of the task.

    Raises:
        TaskError: If it cannot be that.
    """
    if not option.metadata["fits"](value):
        raise TaskError(
            f"The option {quoted(option.name)} of the task {task_type} must be "
            f"{option.metadata['wanted']}, "
            f"not {quoted(list(value) if isinstance(value, tuple) else value)}."
        )


def _option(default: Any, fits: Callable[[Any], bool], wanted: str) -> Any:
    return field(default=default, metadata={"fits": fits, "wanted": wanted})


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
