"""Losses of batches, averaged so that a curve can be read."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

STEPS_IN_A_POINT = 10


def curve(losses: Float[np.ndarray, "seeds steps"]) -> dict[str, NDArray[np.float64]]:
    """Average over ten steps and over seeds.

    Args:
        losses: The losses of each step's batch; NaN where there is none.

    Returns:
        ``step``, the middle of the steps of each point, and ``loss``, the mean over all losses that
        there are in them.
    """
    starts = np.arange(0, losses.shape[1], STEPS_IN_A_POINT)
    parts = np.split(losses, starts[1:], axis=1)
    ends = starts + [part.shape[1] for part in parts]
    means = np.array([known_mean(part) for part in parts])
    return {"step": (starts + ends - 1) / 2, "loss": means}


def known_mean(values: Float[np.ndarray, "..."]) -> float:
    """Average the values that are finite; NaN if none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan
