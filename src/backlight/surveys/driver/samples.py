"""How many rows of a text are measured: a number, or all."""

import sys
from typing import Annotated, Any, Literal

from pydantic import PlainValidator, PositiveInt, TypeAdapter, ValidationError
from pydantic_core import PydanticKnownError

ALL = "all"
_NUMBER = TypeAdapter[int](PositiveInt)


def _read(given: Any) -> Any:
    if given == ALL:
        return ALL
    try:
        return _NUMBER.validate_python(given)
    except ValidationError as error:
        first: Any = error.errors()[0]
        raise PydanticKnownError(first["type"], first.get("ctx")) from error


NumSamples = Annotated[int | Literal["all"], PlainValidator(_read)]
"""A number of rows, or ``all``."""


def most_samples(num_samples: int | str) -> int:
    """Return how many rows are measured at most; no text has as many as ``all``.

    >>> most_samples(500)
    500

    Args:
        num_samples: A number, or ``all``.

    Returns:
        The number.
    """
    return sys.maxsize if isinstance(num_samples, str) else num_samples
