"""How what was measured of some prompts is put beside, or in the place of, that of others."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import StateError

Arrays = Mapping[str, NDArray[Any]]

_COUNT = "num_batches"


def join_rows(first: Arrays, second: Arrays) -> dict[str, NDArray[Any]]:
    """Put the rows of two states of ``TokenSurvey`` together, and nothing for other prompts.

    The same bytes as if both were restored and merged, which would make room for all prompts of the
    run each time: with many shards, much more than the rows that are there.

    >>> one = {"num_batches": np.array(1), "rows": np.array([0, 3]), "nats": np.array([0.5, 0.25])}
    >>> two = {"num_batches": np.array(1), "rows": np.array([1]), "nats": np.array([2.0])}
    >>> joined = join_rows(one, two)
    >>> joined["rows"].tolist(), joined["nats"].tolist(), int(joined["num_batches"])
    ([0, 1, 3], [0.5, 2.0, 0.25], 2)

    Args:
        first: The state of some prompts; every array but the number of batches has a row for each.
        second: That of others, with the same arrays.

    Returns:
        The state of both, in the order of the prompts.

    Raises:
        StateError: If both have measured the same prompt, or have other arrays.
    """
    if first.keys() != second.keys():
        raise StateError(f"only one of two parts has {sorted(first.keys() ^ second.keys())}")
    rows = np.concatenate([first["rows"], second["rows"]])
    order = np.argsort(rows)
    twice = np.flatnonzero(np.diff(rows[order]) == 0)
    if len(twice):
        raise StateError(
            f"prompt {rows[order][twice[0]]} is in both of two parts that are to be merged"
        )
    return {
        name: np.asarray(own + second[name])
        if name == _COUNT
        else np.concatenate([own, second[name]])[order]
        for name, own in first.items()
    }


def halves(
    state: Arrays, num_prompts: int
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Give prompts that were not measured the numbers of others, so that what follows can be tried.

    >>> first, second = halves({"rows": np.array([1]), "nats": np.array([0.5])}, 3)
    >>> first["rows"].tolist(), second["rows"].tolist(), second["nats"].tolist()
    ([0], [1, 2], [0.5, 0.5])

    Args:
        state: That of some prompts, at least one.
        num_prompts: How many there are.

    Returns:
        Two states, each as if of one half of all; positions that a prompt does not have are zero.
    """
    middle = num_prompts // 2
    copied = np.resize(np.arange(len(state["rows"])), num_prompts)

    def of(rows: slice) -> dict[str, NDArray[Any]]:
        filled = {
            name: array if name == _COUNT else np.nan_to_num(array[copied[rows]])
            for name, array in state.items()
        }
        return {**filled, "rows": np.arange(num_prompts)[rows]}

    return of(slice(middle)), of(slice(middle, None))
