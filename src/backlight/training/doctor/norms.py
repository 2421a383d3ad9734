"""Norms of layers judged at a glance, with fixed thresholds: what a notebook needs.

Layers are ordered from the output to the input here, as the gradient meets them on its way back.
A history is judged by ``diagnose``, which compares with siblings and with the past instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class NormIssues:
    """What some norms tell.

    Attributes:
        status: ``healthy``, ``vanishing``, ``exploding``, or ``unstable`` for NaN, infinity, and
            norms that are apart without a direction.
        largest: The largest norm.
        smallest: The smallest one.
        ratio: The largest over the smallest; infinite if the smallest is zero.
        message: The same in a sentence.
    """

    status: Literal["healthy", "vanishing", "exploding", "unstable"]
    largest: float
    smallest: float
    ratio: float
    message: str


def norm_issues(
    norms_from_output_to_input: Sequence[float],
    *,
    vanishing: float = 1e-6,
    exploding: float = 1e6,
    ratio: float = 100.0,
) -> NormIssues:
    """Judge the norms of the gradient at layers.

    Absolute sizes count first; then norms that are apart by more than ``ratio`` vanish if they are
    smaller at the input's end, and explode if they are larger there.

    Args:
        norms_from_output_to_input: One for each layer, the one nearest to the loss first.
        vanishing: If no norm is above this, the gradient vanishes.
        exploding: If some norm is above this, it explodes.
        ratio: The largest over the smallest norm that is still healthy.

    Returns:
        The status and what it is from.
    """
    norms = np.asarray(norms_from_output_to_input, dtype=np.float64)
    if not len(norms):
        return _issues("healthy", norms, "There are no layers.")
    if not np.isfinite(norms).all():
        return _issues("unstable", norms, f"{int((~np.isfinite(norms)).sum())} are not finite.")
    if norms.max() <= vanishing:
        return _issues("vanishing", norms, f"No layer has more than {vanishing:g}.")
    if norms.max() > exploding:
        return _issues("exploding", norms, f"Some layer has more than {exploding:g}.")
    if norms.max() <= ratio * norms.min():
        return _issues("healthy", norms, "Layers are alike.")
    ends = max(1, len(norms) // 3)
    output, source = norms[:ends].mean(), norms[-ends:].mean()
    if source * np.sqrt(ratio) < output:
        return _issues("vanishing", norms, "It shrinks on its way to the input.")
    if source > output * np.sqrt(ratio):
        return _issues("exploding", norms, "It grows on its way to the input.")
    return _issues("unstable", norms, "Layers differ by much, in no direction.")


def _issues(
    status: Literal["healthy", "vanishing", "exploding", "unstable"],
    norms: NDArray[np.float64],
    told: str,
) -> NormIssues:
    largest = float(norms.max()) if len(norms) else 0.0
    smallest = float(norms.min()) if len(norms) else 0.0
    apart = largest / smallest if smallest > 0 else float("inf") if largest > 0 else 1.0
    return NormIssues(
        status=status,
        largest=largest,
        smallest=smallest,
        ratio=apart,
        message=f"{told} Norms run from {smallest:.2e} to {largest:.2e}.",
    )
