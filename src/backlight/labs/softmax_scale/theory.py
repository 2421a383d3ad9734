"""The spectral norm of the softmax's Jacobian, measured and predicted."""

from typing import cast

import torch
from jaxtyping import Float
from scipy import integrate, optimize, stats
from torch import Tensor


def jacobian_norms(scores: Float[Tensor, "rows keys"]) -> Float[Tensor, " rows"]:
    """Compute the spectral norm of the softmax's Jacobian, to full relative precision.

    The largest eigenvalue x of diag(p) - p p' lies between the second largest p and the largest and
    solves sum_i p_i^2 / (p_i - x) = 1, which is bisected in the logarithm of x. The norm of a row
    whose one weight takes all may be 1e-100; eigenvalue routines would say 1e-17.

    Args:
        scores: In float64.

    Returns:
        The norm for each row.
    """
    first, *_ = ordered = scores.softmax(dim=-1).sort(dim=-1, descending=True).values.unbind(-1)
    rest = torch.stack(ordered[1:], dim=-1)
    spread = first * rest.sum(dim=-1)  # p_1 (1 - p_1)
    tiny = torch.finfo(scores.dtype).tiny
    low, high = rest[:, 0].clamp_min(tiny).log(), first.log()
    for _ in range(64):
        middle = (low + high) / 2
        x = middle.exp()
        first_term = (x - spread) / (first - x)
        too_high = first_term > (rest.square() / (x.unsqueeze(-1) - rest)).sum(dim=-1)
        low, high = torch.where(too_high, low, middle), torch.where(too_high, middle, high)
    return ((low + high) / 2).exp()


def gap_density(keys: int) -> float:
    """Compute the density at zero of the gap between the largest two of some normal numbers.

    Args:
        keys: How many standard normal numbers.

    Returns:
        K_n = n (n-1) times the integral of phi(x)^2 Phi(x)^(n-2).
    """

    def density(x: float) -> float:
        return float(stats.norm.pdf(x) ** 2 * stats.norm.cdf(x) ** (keys - 2))

    return keys * (keys - 1) * integrate.quad(density, -12, 12)[0]


def median_gap(keys: int) -> float:
    """Compute the median gap between the largest two of some standard normal numbers.

    Args:
        keys: How many.

    Returns:
        m_n, at which n times the integral of phi(x) Phi(x - m)^(n-1) is 1/2.
    """

    def excess(gap: float) -> float:
        def density(x: float) -> float:
            return float(stats.norm.pdf(x) * stats.norm.cdf(x - gap) ** (keys - 1))

        return keys * integrate.quad(density, -12, 12)[0] - 0.5

    return cast("float", optimize.brentq(excess, 0, 10))


def peaked(score: float, keys: int = 3) -> tuple[Float[Tensor, " keys"], float]:
    """Measure the softmax of [score, 0, ..., 0] with autograd and singular values.

    Args:
        score: The one that stands out.
        keys: How many there are.

    Returns:
        The weights, and the spectral norm of the Jacobian.
    """
    scores = torch.zeros(keys, dtype=torch.float64)
    scores[0] = score
    jacobian = torch.autograd.functional.jacobian(lambda s: s.softmax(dim=-1), scores)
    return scores.softmax(dim=-1), torch.linalg.matrix_norm(torch.as_tensor(jacobian), ord=2).item()
