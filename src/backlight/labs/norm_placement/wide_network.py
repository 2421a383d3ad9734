"""Gradients at the first weights: measured, and predicted for wide networks."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

PLACEMENTS = ("pre", "post")
"""Where the norms stand: before the branches, or behind them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Gradients and sizes along one network, measured or predicted.

    Attributes:
        weights: For each layer, the norm of the gradient of the MLP's second matrix.
        sizes: For each layer, the mean square of an entry of the stream: with pre behind the layer,
            with post before its second norm (behind it, it is 1).
    """

    weights: NDArray[np.float64]
    sizes: NDArray[np.float64]


def measure(
    placement: str, depth: int, *, width: int, positions: int, seed: int, device: torch.device
) -> Expected:
    """Draw a network, send random tokens and labels through, and differentiate.

    Args:
        placement: ``pre`` or ``post``.
        depth: Layers.
        width: The width of the stream, of the MLP and of the vocabulary.
        positions: Tokens of the one sequence.
        seed: The seed of weights, tokens and labels.
        device: Where it runs.

    Returns:
        What was measured.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int, std: float) -> Tensor:
        return std * torch.randn(rows, width, generator=generator).to(device)

    def norm(x: Tensor) -> Tensor:
        return functional.layer_norm(x, (width,))

    def as_it_is(x: Tensor) -> Tensor:
        return x

    before, behind = (norm, as_it_is) if placement == "pre" else (as_it_is, norm)
    x, std = normal(positions, 1.0), width**-0.5
    labels = torch.randint(width, (positions,), generator=generator).to(device)
    seconds, sizes = list[Tensor](), list[float]()
    for _ in range(depth):
        value, first, second = (normal(width, std) for _ in range(3))
        seconds.append(second.requires_grad_())
        m = behind(x + (before(x) @ value).mean(dim=0))
        x = m + torch.relu(before(m) @ first) @ second
        sizes.append(x.square().mean().item())
        x = behind(x)
    logits = before(x) @ normal(width, std)  # the last norm of pre
    gradients = torch.autograd.grad(functional.cross_entropy(logits, labels), seconds)
    return Expected(
        weights=np.array([gradient.norm().item() for gradient in gradients]), sizes=np.array(sizes)
    )


def wide_network(placement: str, depth: int, *, width: int, positions: int) -> Expected:
    """Predict what ``measure`` finds, in the limit of wide networks.

    Two tokens' inner product over the width is ``square`` if they are one and ``product`` if they
    differ (on average); their gradients' are ``error`` and ``shared``.

    Args:
        placement: ``pre`` or ``post``.
        depth: Layers.
        width: The width of the network.
        positions: Tokens of the sequence.

    Returns:
        Root mean squares over networks.
    """
    square, product, n = 1.0, 0.0, positions
    passed, sizes = list[tuple[float, float, float]](), list[float]()
    for _ in range(depth):
        before = square
        mean = _mean_square(1.0, product / square, n)  # of what attention adds, to all tokens alike
        middle, product = square + mean, product + mean
        cosine = product / middle
        passed.append((before, middle, cosine))
        if placement == "pre":
            square, product = middle + _relu_product(1.0), product + _relu_product(cosine)
            sizes.append(square)
        else:
            sizes.append(1 + _relu_product(1.0))
            square, product = 1.0, (cosine + _relu_product(cosine)) / sizes[-1]
    last = square if placement == "pre" else 1.0
    # p - y of uniform labels and logits N(0, 1), then the head, whose columns have length 1.
    error = (1 + (math.e - 2) / width) / last
    shared = (math.exp(product / square) - 1) / width / last
    weights = list[float]()
    for before, middle, cosine in reversed(passed):
        if placement == "post":
            error, shared = (each / (1 + _relu_product(1.0)) for each in (error, shared))
        hidden, alike = _relu_product(1.0), _relu_product(cosine)
        weights.append(math.sqrt(width * (hidden * error + (n - 1) * alike * shared) / n))
        at_mlp, at_attention = (middle, before) if placement == "pre" else (1.0, 1.0)
        error += error * _relu_slopes(1.0) / at_mlp
        shared += shared * _relu_slopes(cosine) / at_mlp
        if placement == "post":
            error, shared = error / middle, shared / middle
        mean = _mean_square(error, shared, n) / at_attention
        error, shared = error + mean, shared + mean
    return Expected(weights=np.array(weights[::-1]), sizes=np.array(sizes))


def _mean_square(square: float, product: float, count: int) -> float:
    """Compute the square of the mean of some vectors, from their squares and products."""
    return (square + (count - 1) * product) / count


def _relu_product(cosine: float) -> float:
    """Compute E[relu(a) relu(b)] for standard normal a and b (Cho and Saul 2009)."""
    angle = math.acos(min(1.0, cosine))
    return (math.sin(angle) + cosine * (math.pi - angle)) / (2 * math.pi)


def _relu_slopes(cosine: float) -> float:
    """Compute the chance that both are positive."""
    return (math.pi - math.acos(min(1.0, cosine))) / (2 * math.pi)
