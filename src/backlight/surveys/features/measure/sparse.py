"""What is added up of one layer's features at the tokens where they fire."""

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.stats.ratio import RatioResult
from backlight.stats.sparse import Entries, SparseMoments
from backlight.stats.top import TopResult
from backlight.surveys.features.measure.feature_pass import Observation
from backlight.surveys.features.measure.features import NUM_TOP, LayerFeatures, Vector
from backlight.surveys.features.measure.placed import PlacedDictionary
from backlight.surveys.features.measure.plan import FeaturePlan
from backlight.surveys.features.measure.warning import FeatureWarnings


@final
class SparseFeatures(LayerFeatures):
    """A quantity at the tokens where features fire: values, gradients there, or their product.

    Attributes:
        sparse: Statistics of each feature.
    """

    _needs_slopes = True

    def __init__(
        self, plan: FeaturePlan, num_features: int, warnings: FeatureWarnings | None = None
    ) -> None:
        self.sparse = SparseMoments(
            num_features,
            active_only=plan.active_only,
            num_top=NUM_TOP,
            grouped=plan.grouped,
        )
        super().__init__(plan, num_features, {"sparse": self.sparse}, warnings)

    def _add(self, seen: Observation, slopes: Tensor | None) -> None:
        codes = seen.codes
        assert codes is not None  # the plan encodes all tokens
        values = codes.values
        if slopes is not None:
            values = slopes if self._plan.quantity == "gradients" else slopes * values
        sequences, kept = torch.where(seen.valid)
        self.sparse.update(
            Entries(
                values=values,
                features=codes.features,
                sequences=sequences[codes.tokens],
                positions=kept[codes.tokens] * self._plan.stride,
                lengths=seen.valid.sum(dim=1),
                passages=np.asarray(seen.batch.passages, dtype=np.int64),
            )
        )

    def close_chunk(self, placed: PlacedDictionary) -> None:
        """See ``LayerFeatures.close_chunk``: nothing is left to do."""

    def statistics(self, rows: Tensor) -> dict[str, Vector]:
        """See ``LayerFeatures.statistics``."""
        del rows
        found = self.sparse.result()
        return {
            "mean": found.mean.ratio,
            "mean_se": found.mean.se,
            "rms": found.rms,
            "mean_abs": found.mean_abs.ratio,
            "mean_abs_se": found.mean_abs.se,
            **self._num_passages(found.mean),
        }

    def _num_passages(self, mean: RatioResult) -> dict[str, Vector]:
        """Count the passages in which each feature fires, if it is averaged where it does."""
        if not self._plan.active_only:
            return {}
        return {"num_passages": mean.num_sequences.astype(np.float64)}

    def group_sums(self, rows: Tensor) -> dict[str, NDArray[np.float32]]:
        """See ``LayerFeatures.group_sums``."""
        del rows
        groups = self.sparse.groups
        return {} if groups is None else groups.result()

    def sizes(self) -> RatioResult | None:
        """See ``LayerFeatures.sizes``."""
        return self.sparse.sizes()

    def contexts(self, rows: Tensor, ranked: NDArray[np.int64]) -> TopResult:
        """See ``LayerFeatures.contexts``."""
        del rows
        top = self.sparse.result().top
        return TopResult(
            values=top.values[ranked],
            passages=top.passages[ranked],
            positions=top.positions[ranked],
        )
