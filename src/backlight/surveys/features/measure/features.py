"""What is added up of one layer's features: at all tokens, or at those where they fire."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.dictionaries.gradients import absolute_sums, gradients_where_active
from backlight.stats.activity import Activity
from backlight.stats.base import Statistic, Sums, as_array, wide
from backlight.stats.groups import PassageSums
from backlight.stats.ratio import RatioResult, Ratios
from backlight.stats.second_moment import SecondMoment
from backlight.stats.top import LargestTokens, TopResult
from backlight.surveys.features.measure.feature_pass import Observation
from backlight.surveys.features.measure.firing import firing
from backlight.surveys.features.measure.placed import PlacedDictionary
from backlight.surveys.features.measure.plan import FeaturePlan
from backlight.surveys.features.measure.warning import FeatureWarnings

Vector = NDArray[np.float64]

NUM_LARGEST = 512
"""Among so many tokens with the longest gradients it is looked for those that matter most."""

NUM_TOP = 3
"""How many tokens are kept of each feature."""


class LayerFeatures(Sums, ABC):
    """All that was seen of one layer's features.

    Attributes:
        counts: At how many tokens each feature fired; None if not all tokens were encoded.
        num_tokens: How many tokens were looked at.
        num_sequences: In how many passages these were.
        nats: The cross-entropy of all predicted tokens, summed.
        num_predicted: How many tokens were predicted; 0 if no loss was computed.
        warnings: How far predictions of setting a feature to zero can be believed; None if the
            features are not weighed against their residual stream.
        activity: How often and how strongly features fire; None if not all tokens were encoded.
    """

    _needs_slopes: ClassVar[bool]
    """Whether gradients are wanted where features fire, also without warnings."""

    def __init__(
        self,
        plan: FeaturePlan,
        num_features: int,
        parts: Mapping[str, Statistic],
        warnings: FeatureWarnings | None,
    ) -> None:
        """Start with nothing seen.

        Args:
            plan: What is to be measured.
            num_features: How many features there are.
            parts: The statistics, by name.
            warnings: See the class.
        """
        self._plan, self.warnings = plan, warnings
        self.activity = Activity(num_features) if plan.encodes else None
        also: dict[str, Statistic | None] = {"warnings": warnings, "activity": self.activity}
        known = {name: part for name, part in also.items() if part is not None}
        numbers = np.zeros(3, dtype=np.int64)  # tokens, sequences, predicted tokens
        counts = {"counts": np.zeros(num_features, dtype=np.int64)} if plan.encodes else {}
        super().__init__({"numbers": numbers, "nats": np.zeros(()), **counts}, {**parts, **known})

    @property
    def counts(self) -> NDArray[np.int64] | None:
        """See the class."""
        return self._sums.get("counts")

    @property
    def num_tokens(self) -> int:
        """See the class."""
        return int(self._sums["numbers"][0])

    @property
    def num_sequences(self) -> int:
        """See the class."""
        return int(self._sums["numbers"][1])

    @property
    def num_predicted(self) -> int:
        """See the class."""
        return int(self._sums["numbers"][2])

    @property
    def nats(self) -> float:
        """See the class."""
        return float(self._sums["nats"])

    @final
    def update(self, seen: Observation, placed: PlacedDictionary) -> None:
        """Take in a batch; it is all there once ``close_chunk`` was called.

        Args:
            seen: The batch.
            placed: The layer's dictionary.
        """
        num_sequences = len(seen.batch.passages)
        num_predicted = 0 if seen.gradient is None else seen.batch.num_predicted
        self._sums["numbers"] += (int(seen.valid.sum()), num_sequences, num_predicted)
        self._sums["nats"] += seen.nats
        if self.counts is not None and seen.codes is not None:
            self._sums["counts"] += seen.codes.counts().cpu().numpy()
        if self.activity is not None:
            self.activity.update(firing(seen, self._plan))
        slopes = self._slopes(seen, placed)
        if self.warnings is not None:
            self.warnings.update(seen, placed, slopes)
        self._add(seen, slopes)

    @final
    def _slopes(self, seen: Observation, placed: PlacedDictionary) -> Tensor | None:
        """Compute the gradient of each feature at the tokens where it fires, if it is wanted."""
        wanted = self._needs_slopes or self.warnings is not None
        if not wanted or seen.gradient is None or seen.codes is None:
            return None
        return gradients_where_active(seen.gradient[seen.valid], placed.load().rows, seen.codes)

    @abstractmethod
    def close_chunk(self, placed: PlacedDictionary) -> None:
        """Finish what was left to do until the batches of a chunk are all there."""

    @abstractmethod
    def statistics(self, rows: Tensor) -> dict[str, Vector]:
        """Compute ``mean``, ``mean_se``, ``rms`` and what else was asked for.

        Args:
            rows: The decoder's rows.

        Returns:
            One number for each feature, by the statistic's name.
        """

    def group_sums(self, rows: Tensor) -> dict[str, NDArray[np.float32]]:
        """Return sums over groups of passages, if they are kept; here none are.

        Args:
            rows: The decoder's rows.

        Returns:
            ``below``, ``[64, 1]`` or ``[64, features]``: how many tokens are averaged over; by mode
            ``[64, features]``. Nothing if none are kept.
        """
        del rows
        return {}

    @abstractmethod
    def sizes(self) -> RatioResult | None:
        """Compute the features' mean sizes so far; None where they follow at the end alone."""

    @abstractmethod
    def contexts(self, rows: Tensor, ranked: NDArray[np.int64]) -> TopResult:
        """Find the tokens where some features mattered most.

        Args:
            rows: The decoder's rows.
            ranked: The features.

        Returns:
            A row for each of these features.
        """

    @abstractmethod
    def _add(self, seen: Observation, slopes: Tensor | None) -> None: ...


def contexts_among(longest: TopResult, rows: Tensor, ranked: NDArray[np.int64]) -> TopResult:
    """Find the tokens where some features mattered most, among those with the longest gradients.

    ``|g . w|`` is at most ``|g| |w|``: a token can matter much to a feature only if its g is long.

    Args:
        longest: The tokens, with their gradients.
        rows: The decoder's rows.
        ranked: The features.

    Returns:
        A row for each of these features.
    """
    chosen = as_array(rows[torch.from_numpy(ranked).to(rows.device)])
    products = chosen @ longest.values.astype(np.float64).T
    order = np.argsort(-np.abs(products), axis=1, kind="stable")[:, :NUM_TOP]
    return TopResult(
        values=np.take_along_axis(products, order, axis=1),
        passages=longest.passages[order],
        positions=longest.positions[order],
    )


@final
class DenseFeatures(LayerFeatures):
    """Gradients of all features at all tokens, in closed form.

    A feature with decoder row w has the gradient ``g . w`` at each token, where g is the gradient
    at the reconstruction. So means, mean squares and their clustered errors are linear and
    quadratic forms in w, and follow at the end from sums over g alone: it takes no dictionary to
    measure them, and as long for a hundred features as for a million. The mean of ``|g . w|`` is no
    such form, so it needs each token's product with each row.

    Attributes:
        moment: The moment of g.
        largest: The tokens where g is longest.
        absolute: Mean sizes of features' gradients, None if they were not asked for.
    """

    _needs_slopes = False

    def __init__(
        self,
        plan: FeaturePlan,
        num_features: int,
        width: int,
        warnings: FeatureWarnings | None = None,
    ) -> None:
        self.moment = SecondMoment(width)
        self.largest = LargestTokens(width, k=NUM_LARGEST, stride=plan.stride)
        self.absolute = Ratios(num_features, shared_below=True) if plan.absolute else None
        self.groups = _dense_groups(plan, num_features, width)
        self._waiting: list[tuple[Tensor, list[int], list[int]]] = []
        parts: dict[str, Statistic | None] = {
            "moment": self.moment,
            "largest": self.largest,
            "absolute": self.absolute,
            "groups": self.groups,
        }
        known = {name: part for name, part in parts.items() if part is not None}
        super().__init__(plan, num_features, known, warnings)

    def _add(self, seen: Observation, slopes: Tensor | None) -> None:
        del slopes
        assert seen.gradient is not None  # the plan is of gradients
        for statistic in (self.moment, self.largest):
            statistic.update(seen.gradient, valid=seen.valid, passages=seen.batch.passages)
        if self.groups is not None:
            sums = {"below": seen.valid.sum(dim=1, keepdim=True)}
            if "vector" in self.groups.state():
                sums["vector"] = wide(seen.gradient).sum(dim=1)
            self.groups.update(sums, seen.batch.passages)
        if self.absolute is not None:
            tokens = seen.gradient[seen.valid]
            lengths = seen.valid.sum(dim=1).tolist()
            self._waiting.append((tokens, lengths, list(seen.batch.passages)))

    def close_chunk(self, placed: PlacedDictionary) -> None:
        """See ``LayerFeatures.close_chunk``: the sizes of gradients, for all tokens together."""
        if self.absolute is None:
            return
        tokens = torch.cat([tokens for tokens, *_ in self._waiting])
        lengths = [length for _, lengths, _ in self._waiting for length in lengths]
        passages = [passage for *_, passages in self._waiting for passage in passages]
        self._waiting.clear()
        start = 0
        for sums, group in absolute_sums(tokens, lengths, placed.load().rows):
            self.absolute.update(wide(sums), torch.tensor(group, device=sums.device)[:, None])
            if self.groups is not None and "mean_abs" in self.groups.state():
                self.groups.update({"mean_abs": sums}, passages[start : start + len(group)])
            start += len(group)

    def statistics(self, rows: Tensor) -> dict[str, Vector]:
        """See ``LayerFeatures.statistics``."""
        along = self.moment.along(rows)
        statistics = {"mean": along.mean, "mean_se": along.mean_se, "rms": along.rms}
        if self.absolute is not None:
            absolute = self.absolute.result()
            statistics |= {"mean_abs": absolute.ratio, "mean_abs_se": absolute.se}
        return statistics

    def group_sums(self, rows: Tensor) -> dict[str, NDArray[np.float32]]:
        """See ``LayerFeatures.group_sums``; sums along directions follow from those of g."""
        if self.groups is None:
            return {}
        sums = self.groups.result()
        if "vector" in sums:
            vector = torch.from_numpy(sums.pop("vector")).to(rows.device, rows.dtype)
            sums["mean"] = (vector @ rows.T).to("cpu", torch.float32).numpy()
        return sums

    def sizes(self) -> RatioResult | None:
        """See ``LayerFeatures.sizes``: known if they were asked for."""
        return None if self.absolute is None else self.absolute.result()

    def contexts(self, rows: Tensor, ranked: NDArray[np.int64]) -> TopResult:
        """See ``LayerFeatures.contexts``; they are looked for among the longest gradients."""
        return contexts_among(self.largest.result(), rows, ranked)


def _dense_groups(plan: FeaturePlan, num_features: int, width: int) -> PassageSums | None:
    """Make room for sums over groups of passages: of g itself, and of the features' sizes."""
    if not plan.grouped:
        return None
    widths = {"mean": ("vector", width), "mean_abs": ("mean_abs", num_features)}
    return PassageSums({"below": 1, **dict(widths[mode] for mode in plan.grouped)})
