"""How two sets of estimates differ, and which differences are more than chance.

Estimates are ratios of sums over passages, which are taken to be independent. Two runs that read
different passages differ by the difference of their estimates, with Welch's error and degrees of
freedom. Two runs that read the same passages are paired: what both owe to a passage falls out of
the difference. Then the error is that of groups of passages, with Student's t of one degree of
freedom less than there are groups (Cochran, Sampling Techniques, 1977, 6.5 and 11.20).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """Some numbers with their errors.

    Attributes:
        value: ``[units]``.
        error: The standard error of each, with passages (or groups of them) as clusters.
        clusters: In how many clusters each was seen, ``[units]``.
    """

    value: Vector
    error: Vector
    clusters: Vector

    def of(self, units: NDArray[np.int64]) -> "Estimates":
        """Keep some units, in this order."""
        return Estimates(
            value=self.value[units], error=self.error[units], clusters=self.clusters[units]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Sums over groups of passages, from which ratios and their errors follow.

    Attributes:
        above: Each group's sums for the numerators, ``[groups, units]``.
        below: Each group's sums for the denominators, ``[groups, units]`` or ``[groups, 1]``.
        is_square: What is compared is the root of the ratio.
    """

    above: NDArray[np.floating]
    below: NDArray[np.floating]
    is_square: bool = False

    def of(self, units: NDArray[np.int64]) -> "Groups":
        """Keep some units, in this order."""
        below = self.below if self.below.shape[1] == 1 else self.below[:, units]
        return Groups(above=self.above[:, units], below=below, is_square=self.is_square)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """How the first of two estimates differs from the second, for each unit.

    Attributes:
        difference: The first less the second.
        error: Its standard error.
        log_ratio: The natural logarithm of their ratio; NaN where they are not of one sign.
        log_ratio_error: Its standard error, by the delta method.
        t: The difference in standard errors; NaN where both are exactly zero.
        freedom: Degrees of freedom.
        p: The two-sided probability of such a t by chance.
        effect_size: The difference over the standard deviation of clusters (the root of the mean
            of both variances): it does not grow with the number of passages.
    """

    difference: Vector
    error: Vector
    log_ratio: Vector
    log_ratio_error: Vector
    t: Vector
    freedom: Vector
    p: Vector
    effect_size: Vector


def unpaired(first: Estimates, second: Estimates) -> Contrast:
    """Compare estimates of different passages.

    Args:
        first: The ones.
        second: The others, of the same units.

    Returns:
        Their contrast; degrees of freedom are Welch's.
    """
    error = np.hypot(first.error, second.error)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.square(first.error / error)  # of the variance that is of the first
        rest = np.square(second.error / error)
        inverse = part**2 / (first.clusters - 1) + rest**2 / (second.clusters - 1)
        relative = np.hypot(first.error / first.value, second.error / second.value)
        freedom = 1 / inverse
    return _contrast(first, second, error, relative, freedom)


def paired(first: Groups, second: Groups) -> Contrast:
    """Compare estimates of the same passages, group by group.

    Args:
        first: The ones.
        second: The others: the same units, over the same groups.

    Returns:
        Their contrast; groups that nothing is in do not count.
    """
    shares, others = _influences(first), _influences(second)
    own, other = _estimates(first, shares), _estimates(second, others)
    clusters = np.minimum(own.clusters, other.clusters)
    error = _error(shares - others, clusters)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = _error(shares * (1 / own.value) - others * (1 / other.value), clusters)
    return _contrast(own, other, error, relative, np.where(clusters > 1, clusters - 1, np.nan))


def estimates_of(groups: Groups) -> Estimates:
    """Compute ratios and their errors from sums over groups.

    Args:
        groups: The sums.

    Returns:
        The ratios, or their roots, with groups as clusters.
    """
    return _estimates(groups, _influences(groups))


def discovery_rates(p: Vector) -> Vector:
    """Compute the false discovery rate at which each test would just be a discovery.

    By Benjamini and Hochberg (1995): ``q_(i) = min_(j >= i) p_(j) n / j`` of n ordered p.

    Args:
        p: The probabilities of all tests, NaN where nothing was tested.

    Returns:
        q of each, NaN where p is.
    """
    rates = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    stepped = p[order] * len(order) / np.arange(1, len(order) + 1)
    rates[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return rates


def _contrast(
    first: Estimates, second: Estimates, error: Vector, relative: Vector, freedom: Vector
) -> Contrast:
    difference = first.value - second.value
    with np.errstate(divide="ignore", invalid="ignore"):
        t = difference / error
        p = 2 * stdtr(freedom, -np.abs(t))
        ratio = first.value / second.value
        known = np.isfinite(ratio) & (ratio > 0)
        variance = first.clusters * first.error**2 + second.clusters * second.error**2
        effect_size = difference / np.sqrt(variance / 2)
    return Contrast(
        difference=difference,
        error=error,
        log_ratio=np.log(ratio, out=np.full_like(ratio, np.nan), where=known),
        log_ratio_error=np.where(known, relative, np.nan),
        t=t,
        freedom=freedom,
        p=p,
        effect_size=effect_size,
    )


def _estimates(groups: Groups, influences: NDArray[np.float64]) -> Estimates:
    clusters = np.broadcast_to(
        (groups.below != 0).sum(axis=0).astype(np.float64), influences.shape[1:]
    )
    return Estimates(value=_value(groups), error=_error(influences, clusters), clusters=clusters)


def _value(groups: Groups) -> Vector:
    below = groups.below.sum(axis=0, dtype=np.float64)
    ratio = groups.above.sum(axis=0, dtype=np.float64) / np.where(below != 0, below, np.nan)
    return np.sqrt(ratio) if groups.is_square else ratio


def _influences(groups: Groups) -> NDArray[np.float64]:
    """Compute how much each group moves the estimate, to first order."""
    below = groups.below.sum(axis=0, dtype=np.float64)
    below = np.where(below != 0, below, np.nan)
    ratio = groups.above.sum(axis=0, dtype=np.float64) / below
    moved = groups.above - ratio * groups.below
    moved *= 1 / below
    if not groups.is_square:
        return moved
    root = np.sqrt(ratio)
    return moved / (2 * np.where(root > 0, root, np.nan))


def _error(influences: NDArray[np.float64], clusters: Vector) -> Vector:
    correction = clusters / np.where(clusters > 1, clusters - 1, np.nan)
    return np.sqrt(correction * np.einsum("gu,gu->u", influences, influences))
