"""Plain stacks of tanh and of ReLU layers at their first weights: measured and predicted."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.labs.frame.repeating import Arrays

_SAMPLES = 64  # rows that a plain stack reads

ACTIVATIONS: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "tanh": (torch.tanh, lambda z: 1 - torch.tanh(z) ** 2),
    "relu": (torch.relu, lambda z: (z > 0).to(z.dtype)),
}
"""Functions and their derivatives."""


def stds(num_inputs: int, num_outputs: int) -> dict[str, float]:
    """Compute the standard deviation of a matrix's first weights.

    Args:
        num_inputs: What it reads.
        num_outputs: What it writes.

    Returns:
        By the kind of first weights.
    """
    return {
        "plain 0.02": 0.02,
        "plain 1": 1.0,
        "glorot": math.sqrt(2 / (num_inputs + num_outputs)),
        "he": math.sqrt(2 / num_inputs),
    }


STACK_WEIGHTS = tuple(stds(1, 1))
"""Kinds of first weights of plain stacks."""


def measure_stack(
    name: str, std: float, *, width: int, depth: int, seed: int, device: torch.device
) -> Arrays:
    """Draw a stack, go through it, and come back with a random gradient of size 1.

    Args:
        name: ``tanh`` or ``relu``.
        std: The standard deviation of its weights.
        width: The width of every layer.
        depth: Layers.
        seed: Fixes everything that is drawn.
        device: Where it runs, in float64.

    Returns:
        ``activation`` and ``gradient``: mean squares before the first layer and behind each.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int) -> Tensor:
        return torch.randn(rows, width, dtype=torch.float64, generator=generator).to(device)

    streams = [normal(_SAMPLES).requires_grad_()]
    for _ in range(depth):
        streams.append(ACTIVATIONS[name][0](streams[-1] @ (std * normal(width))))
    gradients = torch.autograd.grad(streams[-1], streams, normal(_SAMPLES))
    return {
        "activation": np.array([stream.detach().square().mean().item() for stream in streams]),
        "gradient": np.array([gradient.square().mean().item() for gradient in gradients]),
    }


def expected_stack(name: str, std: float, *, width: int, depth: int) -> Arrays:
    """Predict what ``measure_stack`` finds, in the limit of wide networks.

    Args:
        name: ``tanh`` or ``relu``.
        std: The standard deviation of the weights.
        width: The width of every layer.
        depth: Layers.

    Returns:
        ``activation`` and ``gradient``, likewise.
    """
    gain, squares, factors = width * std**2, [1.0], list[float]()
    for _ in range(depth):
        z = math.sqrt(gain * squares[-1])
        if name == "relu":
            squares.append(z**2 / 2)
            factors.append(gain / 2)
        else:
            squares.append(_normal_mean(lambda x: np.tanh(x) ** 2, z))
            factors.append(gain * _normal_mean(lambda x: (1 - np.tanh(x) ** 2) ** 2, z))
    gradient = np.cumprod([1.0, *factors[::-1]])[::-1].astype(np.float64)
    return {"activation": np.array(squares), "gradient": gradient}


def _normal_mean(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], std: float
) -> float:
    """Average an even function over N(0, std^2), by the trapezoid rule."""
    # Gauss and Hermite's rule would miss a function that is narrow beside the density, as the slope
    # of tanh is for large weights; so the middle, where functions change, has a grid of its own.

    def integral(start: float, end: float) -> float:
        x = np.linspace(start, end, 20_001)
        density = np.exp(-((x / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))
        return float(np.trapezoid(function(x) * density, x))

    middle = 10 * min(1.0, std)
    return integral(-middle, middle) + (2 * integral(middle, 10 * std) if std > 1 else 0.0)
