"""What the gradient predicts of setting units to zero, and whether that can be believed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import State, Sums, as_array, wide

Vector = NDArray[np.float64]

LIKELY_WRONG_ABOVE = 0.1
"""The warning index, per nat, above which a prediction is called likely wrong.

Made on SmolLM2-135M by ``benchmarks/warning_threshold.py``: 131 units (45 dimensions of MLP
outputs, 32 heads, 30 whole outputs, 24 dictionary features; half of them the largest), 8 passages
of 48 tokens of WikiText. A prediction is wrong if it has the wrong sign or is more than 50 % off
the true change, as 50 % of these were. Above 0.1 were 83 % of the wrong and 27 % of the right ones,
the best balanced accuracy (0.78) of 13 thresholds; the area under the curve of the index was 0.88,
that of the relative size alone 0.86.
"""

_PLACES: Mapping[str, int] = {"sequence_mean": 1, "token_sum": 2, "batch_mean": 3}

Weighing = Literal["sequence_mean", "token_sum", "batch_mean"]
"""By what sums over the corpus are divided: passages, predicted tokens, or batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstOrderResult:
    """How large the change is when a unit is set to zero, and what the gradient predicts of it.

    Attributes:
        relative_size: The mean over tokens of |change of the residual stream| / |stream|.
        predicted_change: What the gradient predicts of the objective, in nats: minus the sum over
            tokens of gradient times activation, averaged over passages (or what the reduction
            averages over); NaN without a gradient.
        warning_index: ``relative_size^2 / |predicted_change|``, per nat. The first is the size of
            what a first-order prediction leaves out, so a large index is a prediction that is small
            beside its own error. 0 where nothing changes, infinite where something changes and no
            change is predicted.
        likely_wrong: 1 where the index is above the threshold, 0 where not, NaN where not known.
    """

    relative_size: Vector
    predicted_change: Vector
    warning_index: Vector
    likely_wrong: Vector

    def columns(self) -> dict[str, Vector]:
        """All of it, by the names of a table's columns."""
        return {name: getattr(self, name) for name in WARNING_COLUMNS}


WARNING_COLUMNS = ("relative_size", "predicted_change", "warning_index", "likely_wrong")
"""The columns of a result in a table."""

WARNING_UNITS: Mapping[str, str] = {"predicted_change": "nats", "warning_index": "1/nats"}
"""Their units."""


@final
class FirstOrder(Sums):
    """Sums over tokens of relative sizes and of gradient times activation, for each unit."""

    def __init__(self, num_units: int) -> None:
        """Start with nothing seen.

        Args:
            num_units: How many units.
        """
        # Tokens looked at, passages, predicted tokens, batches, all tokens.
        counts = np.zeros(5, dtype=np.int64)
        sums = {name: np.zeros(num_units) for name in ("sizes", "products")}
        super().__init__({**sums, "counts": counts, "num_predicting": np.zeros((), dtype=np.int64)})

    def update(
        self,
        sizes: Float[Tensor, " units"],
        products: Float[Tensor, " units"] | None,
        *,
        num_tokens: int,
        num_passages: int,
        num_predicted: int,
        num_looked_at: int | None = None,
    ) -> None:
        """Take in a batch of whole sequences.

        Args:
            sizes: Each unit's relative sizes, summed over the batch's tokens.
            products: Each unit's gradient times activation, likewise; None without a gradient.
            num_tokens: How many tokens the batch has.
            num_passages: How many passages the batch has.
            num_predicted: How many tokens the loss of the batch counts.
            num_looked_at: Over how many of the tokens was summed; None for all of them.
        """
        self._sums["sizes"] += as_array(wide(sizes))
        seen = num_tokens if num_looked_at is None else num_looked_at
        self._sums["counts"] += (seen, num_passages, num_predicted, 1, num_tokens)
        if products is not None:
            self._sums["products"] += as_array(wide(products))
            self._sums["num_predicting"] += 1

    @property
    def num_units(self) -> int:
        """How many units there are."""
        return len(self._sums["sizes"])

    @staticmethod
    def units_in(state: State) -> int:
        """Count the units of a state that was saved; 0 if it does not say."""
        return int(np.atleast_1d(state.get("sizes", np.zeros(0))).size)

    def result(self, weighing: Weighing = "sequence_mean") -> FirstOrderResult:
        """Compute all numbers of each unit.

        Where only some tokens were looked at, the change is estimated for all of them.

        Args:
            weighing: By what gradients are weighed, and so what a change is averaged over.

        Returns:
            One number for each unit.
        """
        counts = self._sums["counts"]
        size = self._sums["sizes"] / counts[0]
        change = np.full_like(size, np.nan)
        if self._sums["num_predicting"]:
            all_of_seen = counts[4] / counts[0]
            change = -self._sums["products"] / counts[_PLACES[weighing]] * all_of_seen
        index = warning_index(size, change)
        return FirstOrderResult(
            relative_size=size,
            predicted_change=change,
            warning_index=index,
            likely_wrong=likely_wrong(index),
        )


def unknown(num_units: int) -> FirstOrderResult:
    """Write blanks for units of which no residual stream is known."""
    blank = np.full(num_units, np.nan)
    return FirstOrderResult(
        relative_size=blank, predicted_change=blank, warning_index=blank, likely_wrong=blank
    )


def warning_index(relative_size: Vector, predicted_change: Vector) -> Vector:
    """Compute ``relative_size^2 / |predicted_change|``.

    >>> warning_index(np.array([0.1, 0.0, 0.2]), np.array([-0.5, 0.0, 0.0])).round(3)
    array([0.02, 0.  ,  inf])

    Args:
        relative_size: How large each change is beside the stream.
        predicted_change: What the gradient predicts of it, in nats.

    Returns:
        The index of each unit, per nat: 0 where nothing changes; NaN where a number is not known.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        index = relative_size**2 / np.abs(predicted_change)
    return np.where(relative_size == 0, 0.0 * predicted_change, index)


def likely_wrong(index: Vector) -> Vector:
    """Say of which units the prediction is likely wrong: 1, 0, or NaN where it is not known."""
    return np.where(np.isnan(index), np.nan, (index > LIKELY_WRONG_ABOVE).astype(np.float64))
