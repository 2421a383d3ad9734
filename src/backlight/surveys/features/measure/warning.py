"""How far the gradient's prediction of setting a feature to zero can be believed."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.decompose.precision import wide
from backlight.decompose.relative import row_lengths
from backlight.stats.base import Sums
from backlight.stats.first_order import FirstOrder, FirstOrderResult, Weighing
from backlight.surveys.features.measure.feature_pass import Observation
from backlight.surveys.features.measure.placed import PlacedDictionary


@final
class FeatureWarnings(Sums):
    """What each feature is beside the residual stream, summed over the tokens where it fires."""

    def __init__(self, num_features: int) -> None:
        """Start with nothing seen.

        Args:
            num_features: How many features there are.
        """
        self._found = FirstOrder(num_features)
        self._lengths: Tensor | None = None
        super().__init__(parts={"first_order": self._found})

    def update(
        self,
        seen: Observation,
        placed: PlacedDictionary,
        slopes: Float[Tensor, " entries"] | None,
    ) -> None:
        """Take in a batch.

        Args:
            seen: The batch, with its codes and with what lengths of changes are weighed by.
            placed: The layer's dictionary.
            slopes: The gradient by each entry of the codes; None without a gradient.
        """
        codes, weights = seen.codes, seen.weights
        assert codes is not None, "all tokens are encoded"
        assert weights is not None, "the way to the stream is known"
        values = wide(codes.values)
        sizes = wide(weights[seen.valid])[codes.tokens] * values.abs()
        products = None if slopes is None else wide(slopes) * values
        self._found.update(
            _by_feature(codes.features, sizes, codes.num_features) * self._lengths_of(placed),
            None if products is None else _by_feature(codes.features, products, codes.num_features),
            num_tokens=seen.batch.num_tokens,
            num_passages=len(seen.batch.passages),
            num_predicted=seen.batch.num_predicted,
            num_looked_at=codes.num_tokens,
        )

    def result(self, weighing: Weighing) -> FirstOrderResult:
        """Compute the numbers of each feature."""
        return self._found.result(weighing)

    def _lengths_of(self, placed: PlacedDictionary) -> Float[Tensor, " features"]:
        if self._lengths is None:
            assert placed.way is not None, "the way to the stream is known"
            self._lengths = wide(row_lengths(placed.load().rows, placed.way.through))
        return self._lengths


def _by_feature(features: Tensor, values: Tensor, num_features: int) -> Float[Tensor, " features"]:
    sums = torch.bincount(features, weights=values, minlength=num_features)
    return sums.to(values.dtype)  # whole numbers where nothing fires
