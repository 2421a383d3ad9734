"""The shape of a cloud of gradient vectors, one for each prompt."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

_MOST_COMPONENTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Principal components of some vectors, and what they say of the cloud's shape.

    Attributes:
        mean: What was subtracted from each dimension.
        scale: What each dimension was divided by; all 1 if vectors were left as they are.
        explained: Share of the variance that each component explains, all of them.
        scores: The first components of each vector, at most 20, ``[vectors, components]``.
        loadings: The directions of these components, ``[components, width]``.
        components_90: How many components explain 90 % of the variance.
        components_95: How many explain 95 %.
        effective_rank: exp of the entropy of the normalised singular values of the centred (and
            scaled) vectors: how many directions they use (Roy and Vetterli, EUSIPCO 2007).
        mean_cosine: Mean cosine of the angle between two vectors, over all pairs, neither centred
            nor scaled: 1 if all point the same way, about 0 if they point anywhere.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    explained: NDArray[np.float64]
    scores: NDArray[np.float64]
    loadings: NDArray[np.float64]
    components_90: int
    components_95: int
    effective_rank: float
    mean_cosine: float


def geometry(vectors: NDArray[np.floating], *, standardize: bool) -> Geometry | None:
    """Find the principal components of some vectors.

    Args:
        vectors: One vector in each row.
        standardize: Divide each dimension by its standard deviation, so that all count alike.

    Returns:
        Components and measures; None if there are fewer than two vectors or all are equal, so that
        there is no variance to explain.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if len(rows) < 2 or (rows == rows[0]).all():
        return None
    scaler = StandardScaler(with_std=standardize)
    scaled = scaler.fit_transform(rows)
    found = PCA(svd_solver="full").fit(scaled)
    explained = np.asarray(found.explained_variance_ratio_)
    kept = min(_MOST_COMPONENTS, len(explained))
    mean = scaler.mean_
    assert mean is not None  # it was fitted
    return Geometry(
        mean=np.asarray(mean),
        scale=np.asarray(scaler.scale_) if standardize else np.ones(rows.shape[1]),
        explained=explained,
        scores=found.transform(scaled)[:, :kept],
        loadings=np.asarray(found.components_)[:kept],
        components_90=_components(explained, 0.90),
        components_95=_components(explained, 0.95),
        effective_rank=_effective_rank(np.asarray(found.singular_values_)),
        mean_cosine=mean_cosine(rows),
    )


def mean_cosine(vectors: NDArray[np.float64]) -> float:
    """Compute the mean cosine over all pairs of vectors; vectors of length zero are left out.

    Args:
        vectors: One vector in each row.

    Returns:
        With n unit vectors u of mean m, ``(n |m|^2 - 1) / (n - 1)``; NaN with fewer than two.
    """
    norms = np.linalg.norm(vectors, axis=1)
    units = vectors[norms > 0] / norms[norms > 0, None]
    if len(units) < 2:
        return float("nan")
    count = len(units)
    return float((count * np.square(units.mean(axis=0)).sum() - 1) / (count - 1))


def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Compute Pearson's r over the pairs that are known; NaN if fewer than three, or constant."""
    known = np.isfinite(one) & np.isfinite(other)
    one, other = one[known], other[known]
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def _components(explained: NDArray[np.float64], share: float) -> int:
    # The sum of all shares is 1 only up to rounding.
    reached = np.cumsum(explained) >= share - 1e-9
    return int(reached.argmax()) + 1


def _effective_rank(singular_values: NDArray[np.float64]) -> float:
    shares = singular_values / singular_values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))
