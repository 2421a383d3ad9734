"""Norms of groups of parameters from the norms of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNorms:
    """The norm of the gradient of groups of parameters.

    Attributes:
        names: The groups, in the order in which they were first named.
        norms: ``[steps, groups]``, the root of the sum of the squares of the parameters that had a
            gradient; NaN where none had one, or where one was NaN.
        present: ``[steps, groups]``, some parameter had a gradient.
    """

    names: tuple[str, ...]
    norms: NDArray[np.float64]
    present: NDArray[np.bool_]


def group_norms(
    keys: Sequence[str | None], norms: NDArray[np.float64], present: NDArray[np.bool_]
) -> GroupNorms:
    """Sum the squares of the parameters of each group.

    Args:
        keys: The group of each parameter, None for one that is left out.
        norms: ``[steps, parameters]``.
        present: ``[steps, parameters]``, the parameter had a gradient.

    Returns:
        The norms of the groups.
    """
    members: dict[str, list[int]] = {}
    for column, key in enumerate(keys):
        if key is not None:
            members.setdefault(key, []).append(column)
    totals = np.full((len(norms), len(members)), np.nan)
    some = np.zeros(totals.shape, dtype=np.bool_)
    for place, columns in enumerate(members.values()):
        seen = np.where(present[:, columns], norms[:, columns], 0.0)
        total = np.hypot.reduce(seen, axis=1)  # it does not overflow where squares would
        total[np.isnan(seen).any(axis=1)] = np.nan  # hypot(inf, nan) is inf
        some[:, place] = present[:, columns].any(axis=1)
        totals[:, place] = np.where(some[:, place], total, np.nan)
    return GroupNorms(names=tuple(members), norms=totals, present=some)
