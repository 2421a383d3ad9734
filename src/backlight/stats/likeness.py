"""How alike two rankings of the same units are, and how alike chance alone would leave them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from backlight.stats.contrast import Estimates

Vector = NDArray[np.float64]

_NUM_DRAWS = 20
_NORMAL_95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How many of the largest units two rankings share.

    Attributes:
        count: How many units of each ranking are looked at.
        share: Which share of them is in both.
        low: The lower end of its 95 % interval, as of a share of ``count`` units (Wilson 1927).
        high: The upper end.
        by_noise: The share that would be in both if both were the same but for their errors.
    """

    count: int
    share: float
    low: float
    high: float
    by_noise: float


def rank_agreement(first: Vector, second: Vector) -> float:
    """Compute Spearman's correlation of two rankings.

    Args:
        first: The numbers of one.
        second: Those of the other.

    Returns:
        The correlation, over the units that both know; NaN if one side does not vary.
    """
    known = ~(np.isnan(first) | np.isnan(second))
    if known.sum() < 2:
        return float("nan")
    own, other = rankdata(first[known]), rankdata(second[known])
    own, other = own - own.mean(), other - other.mean()
    size = float(np.sqrt((own @ own) * (other @ other)))
    return float(own @ other) / size if size > 0 else float("nan")


def top_overlap(first: Estimates, second: Estimates, count: int, *, seed: int = 0) -> Overlap:
    """Compute which share of the largest units, by absolute value, two rankings share.

    What errors alone would leave is drawn: both are taken to be the mean of the two, weighted by
    their precision, and each gets normal errors of its own.

    Args:
        first: The ones.
        second: The others, of the same units.
        count: How many units of each; fewer, if there are no more.
        seed: Determines the draws.

    Returns:
        The overlap.
    """
    count = min(count, len(first.value))
    share = shared_top(first.value, second.value, count)
    random = np.random.default_rng(seed)
    common = _common(first, second)
    drawn = [
        shared_top(_drawn(common, first, random), _drawn(common, second, random), count)
        for _ in range(_NUM_DRAWS)
    ]
    low, high = _wilson(share, count)
    return Overlap(count=count, share=share, low=low, high=high, by_noise=float(np.mean(drawn)))


def _common(first: Estimates, second: Estimates) -> Vector:
    own, other = np.square(first.error), np.square(second.error)
    with np.errstate(divide="ignore", invalid="ignore"):
        mixed = (first.value * other + second.value * own) / (own + other)
    return np.where(np.isnan(mixed), (first.value + second.value) / 2, mixed)


def _drawn(common: Vector, like: Estimates, random: np.random.Generator) -> Vector:
    return common + np.nan_to_num(like.error) * random.standard_normal(len(common))


def shared_top(first: Vector, second: Vector, count: int) -> float:
    """Compute which share of the largest units, by absolute value, is in both of two rankings."""
    tops = [_largest(each, count) for each in (first, second)]
    return len(np.intersect1d(*tops, assume_unique=True)) / count


def _largest(values: Vector, count: int) -> NDArray[np.int64]:
    sizes = np.nan_to_num(np.abs(values), nan=-1.0)
    return np.argpartition(-sizes, count - 1)[:count]


def _wilson(share: float, count: int) -> tuple[float, float]:
    square = _NORMAL_95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    reach = np.sqrt(share * (1 - share) / count + square / (4 * count**2))
    half = float(_NORMAL_95 * reach / (1 + square / count))
    return max(middle - half, 0.0), min(middle + half, 1.0)
