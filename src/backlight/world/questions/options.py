"""Options of tasks: what may be changed, and what it may be."""

from collections.abc import Sequence
from dataclasses import Field, field, fields
from typing import TYPE_CHECKING, Any

from backlight.errors import TaskError, quoted

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def between(low: int, high: int, *, least: int) -> Any:
    """Define an option that is a range of whole numbers, ends included, none below ``least``."""
    metadata = {"kind": "range", "least": least}
    return field(default=(low, high), metadata=metadata)


def count(default: int, *, least: int) -> Any:
    """Define an option that is a whole number of at least ``least``."""
    return field(default=default, metadata={"kind": "count", "least": least})


def share(default: float) -> Any:
    """Define an option that is a share of the questions, from 0 to 1."""
    return field(default=default, metadata={"kind": "share"})


def flag(default: bool) -> Any:
    """Define an option that is true or false."""
    return field(default=default, metadata={"kind": "flag"})


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
    wanted = _wanted(option, value)
    if wanted is not None:
        raise TaskError(
            f"The option {quoted(option.name)} of the task {task_type} must be {wanted}, "
            f"not {quoted(list(value) if isinstance(value, tuple) else value)}."
        )


def _wanted(option: Field[Any], value: Any) -> str | None:
    """Say what an option must be, if it is not."""
    least = option.metadata.get("least", 0)
    kind = option.metadata["kind"]
    if kind == "flag":
        return None if isinstance(value, bool) else "true or false"
    if kind == "share":
        fits = _is_number(value, (int, float)) and 0 <= value <= 1
        return None if fits else "a number from 0 to 1"
    if kind == "count":
        fits = _is_number(value, (int,)) and value >= least
        return None if fits else f"a whole number of at least {least}"
    fits = (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(_is_number(end, (int,)) for end in value)
        and least <= value[0] <= value[1]
    )
    return None if fits else f"a range of whole numbers of at least {least}, such as [{least}, 9]"


def _is_number(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
