"""How many rows of a text are measured, and at once: a number, or a word."""

import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import PlainValidator, PositiveInt, TypeAdapter, ValidationError
from pydantic_core import PydanticKnownError

ALL = "all"
AUTO = "auto"
_NUMBER = TypeAdapter[int](PositiveInt)


def _number_or(word: str) -> Callable[[Any], Any]:
    def read(given: Any) -> Any:
        if given == word:
            return word
        try:
            return _NUMBER.validate_python(given)
        except ValidationError as error:
            first: Any = error.errors()[0]
            raise PydanticKnownError(first["type"], first.get("ctx")) from error

    return read


NumSamples = Annotated[int | Literal["all"], PlainValidator(_number_or(ALL))]
"""A number of rows, or ``all``."""

BatchSize = Annotated[int | Literal["auto"], PlainValidator(_number_or(AUTO))]
"""A number of passages, or ``auto``: as many as the device takes best."""


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
