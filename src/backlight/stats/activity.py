"""How often and how strongly features fire: what other tools rank them by."""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.base import Sums, as_array, wide


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """The features that fire at some tokens, and which of these tokens count for whom.

    Attributes:
        values: What fires, an entry for each pair of a token and a feature.
        features: The feature of each entry.
        tokens: The token of each entry.
        after_first: Of each token, whether it is not the first of its passage.
        in_text: Of each token, whether it is text: no beginning, no end, no padding.
    """

    values: Float[Tensor, " entries"]
    features: Int[Tensor, " entries"]
    tokens: Int[Tensor, " entries"]
    after_first: Bool[Tensor, " tokens"]
    in_text: Bool[Tensor, " tokens"]


@final
class Activity(Sums):
    """At how many tokens each feature fires, and sums of its activations and of their squares.

    There are two sets of tokens, since the tools that rank by this leave out different ones: CRISP
    the first token of each passage, SAEBench and DSG the tokenizer's tokens for beginning, end and
    padding.
    """

    def __init__(self, num_features: int) -> None:
        """Start with nothing seen.

        Args:
            num_features: How many features there are.
        """
        super().__init__(
            {
                "tokens": np.zeros(2, dtype=np.int64),  # after the first, in the text
                "active_after_first": np.zeros(num_features, dtype=np.int64),
                "sum_after_first": np.zeros(num_features),
                "active_in_text": np.zeros(num_features, dtype=np.int64),
                "square_in_text": np.zeros(num_features),
            }
        )

    def update(self, seen: Firing) -> None:
        """Take in some tokens."""
        counted = (int(seen.after_first.sum()), int(seen.in_text.sum()))
        self._sums["tokens"] += np.array(counted, dtype=np.int64)
        values, fires = wide(seen.values), seen.values > 0
        for which, power in (("after_first", "sum"), ("in_text", "square")):
            kept = getattr(seen, which)[seen.tokens]
            raised = values.square() if power == "square" else values
            self._sums[f"active_{which}"] += self._counts(seen.features[kept & fires])
            self._sums[f"{power}_{which}"] += self._added(seen.features[kept], raised[kept])

    def result(self) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
        """Return what was seen.

        Returns:
            ``active_after_first`` and ``active_in_text``: at how many tokens of each set the
            activation is above zero; ``sum_after_first``: the sum of activations;
            ``square_in_text``: the sum of their squares; ``activity_tokens``: how many tokens there
            are after the first of each passage, and how many in the text.
        """
        return {
            "activity_tokens" if name == "tokens" else name: array.copy()
            for name, array in self._sums.items()
        }

    def _counts(self, features: Tensor) -> NDArray[np.int64]:
        return features.bincount(minlength=len(self._sums["sum_after_first"])).cpu().numpy()

    def _added(self, features: Tensor, values: Tensor) -> NDArray[np.float64]:
        return as_array(
            features.bincount(weights=values, minlength=len(self._sums["sum_after_first"]))
        )
