"""How well predictions agree with the truth, with intervals over passages and units.

Predictions and true changes of some units are sums over passages. Other passages and other units
would give other numbers, so a bootstrap draws both anew: passages with replacement, then units with
replacement, and takes the statistic again (Owen 2007, "The pigeonhole bootstrap").
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

Vector = NDArray[np.float64]

LEAST = 3
"""Of fewer units nothing is said."""

_REPLICATES = 400
_TOP = 0.1  # of the units are those that recall is about
_FAR = 0.5  # of the true change off is wrong
_ENDS = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What was predicted of some units, and what was true, passage by passage.

    Attributes:
        predicted: ``[units, passages]``.
        true: The same of the true changes.
        weights: How much each passage counts: a unit's change is the sum of its passages' over the
            sum of these.
    """

    predicted: NDArray[np.float64]
    true: NDArray[np.float64]
    weights: Vector

    def means(self, counts: Vector | None = None) -> tuple[Vector, Vector]:
        """Average over passages, each counted so many times; once by default."""
        counts = np.ones(len(self.weights)) if counts is None else counts
        whole = float(counts @ self.weights)
        return self.predicted @ counts / whole, self.true @ counts / whole

    def of(self, units: NDArray[np.bool_] | NDArray[np.int64]) -> "Effects":
        """Keep some units."""
        return Effects(predicted=self.predicted[units], true=self.true[units], weights=self.weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How well predictions agree with true changes.

    Attributes:
        num_units: How many units there are.
        estimates: Each statistic by its name; NaN where there are too few units to tell.
        low: The lower ends of their 95 % intervals.
        high: The upper ends.
        pearson_least: The least Pearson correlation if one unit is left out.
        pearson_most: The largest.
        chance_recall: What recall a random ranking has, on average.
    """

    num_units: int
    estimates: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    pearson_least: float
    pearson_most: float
    chance_recall: float


def pearson(predicted: Vector, true: Vector) -> float:
    """Compute Pearson's correlation; NaN if one side does not vary."""
    return _ratio(*_centred(predicted, true))


def spearman(predicted: Vector, true: Vector) -> float:
    """Compute Pearson's correlation of ranks, ties sharing theirs."""
    return pearson(rankdata(predicted), rankdata(true))


def sign_agreement(predicted: Vector, true: Vector) -> float:
    """Compute the share of units whose predicted sign is the true one."""
    return float((np.sign(predicted) == np.sign(true)).mean())


def slope(predicted: Vector, true: Vector) -> float:
    """Compute the slope of the least-squares line of true on predicted changes."""
    own, other = predicted - predicted.mean(), true - true.mean()
    square = float(own @ own)
    return float(own @ other) / square if square > 0 else float("nan")


def median_error(predicted: Vector, true: Vector) -> float:
    """Compute the median of |predicted - true| / |true|; where nothing changes, 0 or infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.abs(predicted - true) / np.abs(true)
    return float(np.median(np.where(predicted == true, 0.0, errors)))


def recall(predicted: Vector, true: Vector) -> float:
    """Compute which share of the tenth with the largest true sizes is in the predicted tenth."""
    count = num_top(len(true))
    largest = [set(np.argsort(-np.abs(each), kind="stable")[:count]) for each in (predicted, true)]
    return len(largest[0] & largest[1]) / count


def num_top(num_units: int) -> int:
    """Return how many units are a tenth, rounded up."""
    return int(np.ceil(_TOP * num_units))


def wrong(predicted: Vector, true: Vector) -> NDArray[np.bool_]:
    """Say which predictions have the wrong sign, or are more than half of the true change off."""
    return (np.sign(predicted) != np.sign(true)) | (np.abs(predicted - true) > _FAR * np.abs(true))


STATISTICS: Mapping[str, Callable[[Vector, Vector], float]] = {
    "pearson": pearson,
    "spearman": spearman,
    "sign_agreement": sign_agreement,
    "slope": slope,
    "median_error": median_error,
    "recall": recall,
}


def agreement(effects: Effects, *, seed: int = 0) -> Agreement:
    """Compare predictions with true changes.

    Args:
        effects: Of the units.
        seed: Fixes the bootstrap.

    Returns:
        All statistics, with 95 % intervals over passages and units.
    """
    predicted, true = effects.means()
    count = len(predicted)
    if count < LEAST:
        blank = dict.fromkeys(STATISTICS, float("nan"))
        return Agreement(
            num_units=count,
            estimates=blank,
            low=blank,
            high=blank,
            pearson_least=float("nan"),
            pearson_most=float("nan"),
            chance_recall=float("nan"),
        )
    random = np.random.default_rng([seed, count])
    replicates = np.array([_replicate(effects, random) for _ in range(_REPLICATES)])
    low, high = (_percentiles(replicates, end) for end in _ENDS)
    left_out = _without_each(predicted, true)
    return Agreement(
        num_units=count,
        estimates={name: find(predicted, true) for name, find in STATISTICS.items()},
        low=dict(zip(STATISTICS, low, strict=True)),
        high=dict(zip(STATISTICS, high, strict=True)),
        pearson_least=_known(left_out, np.min),
        pearson_most=_known(left_out, np.max),
        chance_recall=num_top(count) / count,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How well an index tells wrong predictions from right ones.

    Attributes:
        num_wrong: How many predictions are wrong.
        num_right: How many are right.
        area: The area under the curve (AUC): the chance that of a wrong and a right prediction the
            wrong one has the larger index; NaN unless there are both.
        low: The lower end of its 95 % interval over units.
        high: The upper end.
    """

    num_wrong: int
    num_right: int
    area: float
    low: float
    high: float


def separation(index: Vector, is_wrong: NDArray[np.bool_], *, seed: int = 0) -> Separation:
    """Find how well an index tells wrong predictions from right ones.

    Args:
        index: The index of each unit; units of which it is not known do not count.
        is_wrong: Which predictions are wrong.
        seed: Fixes the bootstrap.

    Returns:
        The area under the curve, with its interval.
    """
    known = ~np.isnan(index)
    ranks, is_wrong = rankdata(index[known]), is_wrong[known]
    random = np.random.default_rng([seed, len(ranks)])
    areas: list[float] = []
    for _ in range(_REPLICATES if len(ranks) else 0):
        drawn = random.integers(len(ranks), size=len(ranks))
        areas.append(_area(ranks[drawn], is_wrong[drawn]))
    found = np.array(areas)
    low, high = (_known(found, lambda values, end=end: np.percentile(values, end)) for end in _ENDS)
    num_wrong = int(is_wrong.sum())
    return Separation(
        num_wrong=num_wrong,
        num_right=len(ranks) - num_wrong,
        area=_area(ranks, is_wrong),
        low=low,
        high=high,
    )


def _area(ranks: Vector, is_wrong: NDArray[np.bool_]) -> float:
    if not is_wrong.any() or is_wrong.all():
        return float("nan")
    return float(roc_auc_score(is_wrong, ranks))


def _replicate(effects: Effects, random: np.random.Generator) -> list[float]:
    num_units, num_passages = effects.true.shape
    counts = np.bincount(random.integers(num_passages, size=num_passages), minlength=num_passages)
    predicted, true = effects.means(counts.astype(np.float64))
    drawn = random.integers(num_units, size=num_units)
    return [find(predicted[drawn], true[drawn]) for find in STATISTICS.values()]


def _without_each(predicted: Vector, true: Vector) -> Vector:
    """Compute Pearson's correlation without each unit, all at once."""
    count = len(predicted) - 1
    x, y = ((each - each.mean()) for each in (predicted, true))
    sum_x, sum_y = x.sum() - x, y.sum() - y
    products = x @ y - x * y - sum_x * sum_y / count
    squares_x = x @ x - x * x - sum_x**2 / count
    squares_y = y @ y - y * y - sum_y**2 / count
    below = np.sqrt(np.maximum(squares_x, 0) * np.maximum(squares_y, 0))
    unknown = np.full_like(x, np.nan)
    return np.clip(np.divide(products, below, out=unknown, where=below > 0), -1.0, 1.0)


def _centred(predicted: Vector, true: Vector) -> tuple[float, float]:
    own, other = predicted - predicted.mean(), true - true.mean()
    return float(own @ other), float(np.sqrt((own @ own) * (other @ other)))


def _ratio(above: float, below: float) -> float:
    return float(np.clip(above / below, -1.0, 1.0)) if below > 0 else float("nan")


def _percentiles(replicates: NDArray[np.float64], end: float) -> list[float]:
    return [
        _known(column, lambda values: np.percentile(values, end, method="nearest"))
        for column in replicates.T
    ]


def _known(values: Vector, find: Callable[[Vector], np.floating | float]) -> float:
    known = values[~np.isnan(values)]
    return float(find(known)) if len(known) else float("nan")
