"""Attention layers at their first weights, and laws of how their tokens become alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from backlight.labs.frame.repeating import Arrays
from backlight.labs.rank_collapse.options import RankCollapseConfig

KINDS = ("attention", "attention + MLP", "skip", "skip, 1/sqrt(L)")
"""The kinds of networks."""

WITH_SKIP = KINDS[2:]
"""Those with skip connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Attention layers at their first weights.

    Attributes:
        kind: One of ``KINDS``.
        layers: The matrices of each: query, key, value, and two of an MLP.
        weights: What the loss multiplies the last stream with.
    """

    kind: str
    layers: Sequence[tuple[Tensor, ...]]
    weights: Float[Tensor, "positions width"]

    def forward(
        self, x: Float[Tensor, "positions width"]
    ) -> list[Float[Tensor, "positions width"]]:
        """Go through all layers.

        Args:
            x: The tokens.

        Returns:
            The stream before the first layer and behind each.
        """
        streams, scale = [x], branch_scale(self.kind, len(self.layers))
        for query, key, value, first, second in self.layers:
            scores = (x @ query) @ (x @ key).T / math.sqrt(x.shape[1])
            gathered = scores.softmax(dim=-1) @ (x @ value)
            if self.kind == KINDS[1]:
                x = math.sqrt(2) * torch.relu(gathered @ first) @ second
            elif self.kind in WITH_SKIP:
                x = functional.layer_norm(x + scale * gathered, x.shape[1:], eps=0.0)
            else:
                x = gathered
            streams.append(x)
        return streams

    def measure(self, x: Float[Tensor, "positions width"]) -> Arrays:
        """Follow tokens forward and the gradient of a random linear loss back.

        Args:
            x: The tokens.

        Returns:
            ``means``, ``rests`` and ``shares`` before the first layer and behind each, and
            ``gradients``: for each layer the norms for W_Q, W_K and W_V.
        """
        streams = self.forward(x)
        wanted = [matrix for layer in self.layers for matrix in layer[:3]]
        gradients = torch.autograd.grad((streams[-1] * self.weights).sum(), wanted)
        norms = np.array([gradient.norm().item() for gradient in gradients]).reshape(-1, 3)
        means, rests = np.array([energies(stream.detach()) for stream in streams]).T
        return {
            "means": means,
            "rests": rests,
            "shares": rests / (means + rests),
            "gradients": norms,
        }


def energies(x: Float[Tensor, "positions width"]) -> tuple[float, float]:
    """Split the mean square of a stream.

    Args:
        x: The stream.

    Returns:
        That of the mean token, and that of the rest.
    """
    mean = x.mean(dim=0)
    return mean.square().mean().item(), (x - mean).square().mean().item()


def branch_scale(kind: str, depth: int) -> float:
    """Compute what a network of some depth multiplies each branch by."""
    return depth**-0.5 if kind == KINDS[3] else 1.0


def expected_share(layers: int, *, positions: int, scale: float) -> float:
    """Predict the rest's share with skip connections and even attention.

    Args:
        layers: How many were passed.
        positions: Tokens, independent at first.
        scale: What each branch is multiplied by.

    Returns:
        The share.
    """
    return 1 / (1 + (1 + scale**2) ** layers / (positions - 1))


def draw_stack(
    config: RankCollapseConfig, kind: str, depth: int, seed: int, device: torch.device
) -> Stack:
    """Draw a network.

    Args:
        config: The options.
        kind: One of ``KINDS``.
        depth: Layers.
        seed: The seed of its weights.
        device: Where it runs, in float64.

    Returns:
        The network.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int, std: float) -> Tensor:
        entries = torch.randn(rows, config.width, dtype=torch.float64, generator=generator)
        return (std * entries).to(device)

    weights = normal(config.positions, (config.positions * config.width) ** -0.5)
    layers = [
        tuple(normal(config.width, config.width**-0.5).requires_grad_() for _ in range(5))
        for _ in range(depth)
    ]
    return Stack(kind=kind, layers=layers, weights=weights)


def draw_tokens(
    config: RankCollapseConfig, seed: int, device: torch.device
) -> Float[Tensor, "positions width"]:
    """Draw independent tokens.

    Args:
        config: The options.
        seed: The seed of the network that reads them: their own is derived from it.
        device: Where they are put.

    Returns:
        The tokens, in float64.
    """
    generator = torch.Generator().manual_seed(seed + 1_000_003)  # apart from the weights
    shape = (config.positions, config.width)
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(device)
