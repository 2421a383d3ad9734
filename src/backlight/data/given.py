"""Data that is handed over in Python, in the place of a dataset's name."""

from collections.abc import Iterable, Iterator
from os import PathLike, fspath
from typing import Any

IN_MEMORY = "in memory"
"""What a run calls the dataset if there is no name for it."""


class Given(str):
    """What data is called that has no name, with the data.

    It is the text ``in memory``, so that it can be recorded wherever a dataset's name is.

    Attributes:
        source: What was handed over.
    """

    source: Any
    _seen: list[Any]
    _rest: Iterator[Any] | None
    __slots__ = ("_rest", "_seen", "source")

    def __new__(cls, source: Any) -> "Given":
        """Wrap data under its name."""
        made = super().__new__(cls, IN_MEMORY)
        made.source, made._seen, made._rest = source, [], None
        return made

    def items(self, values: Iterable[Any]) -> Iterator[Any]:
        """Go through values, from the first each time, also if they can be had only once.

        Args:
            values: What the data is made of, as ``iter`` gives it.

        Yields:
            The values.
        """
        if self._rest is None:
            self._rest = iter(values)
        place = 0
        while True:
            if place == len(self._seen):
                try:
                    self._seen.append(next(self._rest))
                except StopIteration:
                    return
            yield self._seen[place]
            place += 1


def named_or_given(dataset: Any) -> str:
    """Distinguish names and paths from data.

    Args:
        dataset: A name, a path, or anything that holds texts or token ids.

    Returns:
        The name; or a ``Given``.
    """
    if isinstance(dataset, str):
        return dataset if isinstance(dataset, Given) else str(dataset)
    if isinstance(dataset, PathLike):
        return str(fspath(dataset))
    if dataset is None or isinstance(dataset, (bool, bytes)) or callable(dataset):
        raise ValueError("name a dataset or a path, or give texts or token ids")
    if isinstance(dataset, (int, float)):  # YAML reads a name such as 2024 as a number
        return str(dataset)
    return Given(dataset)
