"""Gradients of all features at all tokens where decoder rows are too wide for a closed form."""

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.dictionaries.gradients import product_sums
from backlight.stats.base import wide
from backlight.stats.ratio import RatioResult, Ratios
from backlight.stats.top import LargestTokens, TopResult
from backlight.surveys.features.measure.feature_pass import Observation
from backlight.surveys.features.measure.features import (
    NUM_LARGEST,
    LayerFeatures,
    Vector,
    contexts_among,
)
from backlight.surveys.features.measure.placed import PlacedDictionary
from backlight.surveys.features.measure.plan import FeaturePlan


@final
class ProductFeatures(LayerFeatures):
    """Gradients of all features at all tokens, each one computed.

    A feature of a cross-layer transcoder writes to k sites, and its gradient is ``g . w`` with the
    gradients of all of these side by side. The moment of g, from which ``DenseFeatures`` has all
    but the mean of absolute values, would have (k width)^2 numbers for each layer. So each token's
    product with each row is taken, and its value, size and square are summed.

    Attributes:
        signed: Means of features' gradients.
        absolute: Means of their sizes.
        squared: Means of their squares.
        largest: The tokens where g is longest.
    """

    _needs_slopes = False

    def __init__(self, plan: FeaturePlan, num_features: int, width: int) -> None:
        self.signed, self.absolute, self.squared = (
            Ratios(num_features, shared_below=True) for _ in range(3)
        )
        self.largest = LargestTokens(width, k=NUM_LARGEST, stride=plan.stride)
        self._waiting: list[tuple[Tensor, list[int]]] = []
        parts = {"signed": self.signed, "absolute": self.absolute, "squared": self.squared}
        super().__init__(plan, num_features, {**parts, "largest": self.largest}, None)

    def _add(self, seen: Observation, slopes: Tensor | None) -> None:
        del slopes
        assert seen.gradient is not None  # the plan is of gradients
        self.largest.update(seen.gradient, valid=seen.valid, passages=seen.batch.passages)
        self._waiting.append((seen.gradient[seen.valid], seen.valid.sum(dim=1).tolist()))

    def close_chunk(self, placed: PlacedDictionary) -> None:
        """See ``LayerFeatures.close_chunk``: all products, for all tokens together."""
        tokens = torch.cat([tokens for tokens, _ in self._waiting])
        lengths = [length for _, lengths in self._waiting for length in lengths]
        self._waiting.clear()
        for sums in product_sums(tokens, lengths, placed.load().rows):
            below = torch.tensor(sums.lengths, device=tokens.device)[:, None]
            self.signed.update(wide(sums.signed), below)
            self.absolute.update(wide(sums.absolute), below)
            self.squared.update(wide(sums.squared), below)

    def statistics(self, rows: Tensor) -> dict[str, Vector]:
        """See ``LayerFeatures.statistics``."""
        del rows
        signed, absolute = self.signed.result(), self.absolute.result()
        return {
            "mean": signed.ratio,
            "mean_se": signed.se,
            "rms": np.sqrt(self.squared.result().ratio),
            "mean_abs": absolute.ratio,
            "mean_abs_se": absolute.se,
        }

    def sizes(self) -> RatioResult:
        """See ``LayerFeatures.sizes``."""
        return self.absolute.result()

    def contexts(self, rows: Tensor, ranked: NDArray[np.int64]) -> TopResult:
        """See ``LayerFeatures.contexts``; they are looked for among the longest gradients."""
        return contexts_among(self.largest.result(), rows, ranked)
