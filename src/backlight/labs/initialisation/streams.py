"""A transformer's residual stream at its first weights: measured and predicted."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from backlight.labs.frame.repeating import Arrays
from backlight.labs.initialisation.options import InitialisationConfig
from backlight.labs.initialisation.stacks import stds
from backlight.learning_rules import LocalGPT, LocalGPTConfig

STREAM_WEIGHTS = ("plain 0.02", "gpt2", "glorot", "he")
"""Kinds of first weights of transformers."""

START = 2 * 0.02**2
"""Mean square of what blocks read at first: what GPT-2's embeddings and positions add up to."""

_NODES, _MASSES = np.polynomial.hermite_e.hermegauss(201)  # of the standard normal, unnormed


def matrix_stds(weights: str, width: int, depth: int) -> dict[str, float]:
    """Compute the standard deviation of each of a block's matrices.

    Args:
        weights: One of ``plain 0.02``, ``gpt2``, ``glorot``, ``he``.
        width: The width of the stream.
        depth: Blocks.

    Returns:
        By the matrix's name in ``LocalGPT``.
    """
    shapes = {
        "attn.c_attn": (width, 3 * width),
        "attn.c_proj": (width, width),
        "mlp.c_fc": (width, 4 * width),
        "mlp.c_proj": (4 * width, width),
    }
    if weights == "gpt2":
        scaled = 0.02 / math.sqrt(2 * depth)
        return {name: scaled if name.endswith("c_proj") else 0.02 for name in shapes}
    return {name: stds(*shape)[weights] for name, shape in shapes.items()}


def measure_stream(
    config: InitialisationConfig, weights: str, depth: int, seed: int, device: torch.device
) -> Arrays:
    """Draw the blocks of a transformer, go through, and come back with a gradient of size 1.

    Args:
        config: The options.
        weights: Its first weights, as in ``matrix_stds``.
        depth: Blocks.
        seed: Fixes everything that is drawn.
        device: Where it runs, in float64.

    Returns:
        ``activation`` and ``gradient``: mean squares before the first block and behind each;
        ``added``: that of the difference between last and first.
    """
    torch.manual_seed(seed)
    sizes = LocalGPTConfig(
        block_size=config.positions, n_layer=depth, n_head=config.n_head, n_embd=config.n_embd
    )
    model = LocalGPT(sizes).double()
    for name, std in matrix_stds(weights, config.n_embd, depth).items():
        for path, parameter in model.transformer.h.named_parameters():
            if path.endswith(f"{name}.weight"):
                nn.init.normal_(parameter, std=std)
    blocks = model.transformer.h.to(device).requires_grad_(requires_grad=False)
    size = (1, config.positions, config.n_embd)
    x = math.sqrt(START) * torch.randn(size, dtype=torch.float64)
    streams = [x.to(device).requires_grad_()]
    for block in blocks:
        streams.append(block(streams[-1]))
    upstream = torch.randn(size, dtype=torch.float64).to(device)
    gradients = torch.autograd.grad(streams[-1], streams, upstream)
    return {
        "activation": np.array([stream.detach().square().mean().item() for stream in streams]),
        "gradient": np.array([gradient.square().mean().item() for gradient in gradients]),
        "added": np.array((streams[-1] - streams[0]).detach().square().mean().item()),
    }


def expected_stream(config: InitialisationConfig, weights: str, depth: int) -> Arrays:
    """Predict what ``measure_stream`` finds, in the limit of wide networks and even attention.

    Args:
        config: The options.
        weights: The first weights, as in ``matrix_stds``.
        depth: Blocks.

    Returns:
        ``activation`` and ``gradient``, likewise.
    """
    std, width, n = matrix_stds(weights, config.n_embd, depth), config.n_embd, config.positions
    even = np.tril(np.ones((n, n))) / np.arange(1, n + 1)[:, None]
    attention = width**2 * (std["attn.c_attn"] * std["attn.c_proj"]) ** 2
    hidden = width * std["mlp.c_fc"] ** 2  # mean square of what the GELU reads
    out = 4 * width * std["mlp.c_proj"] ** 2
    values, slopes = _gelu_series(hidden)
    stream, sizes = START * np.eye(n), [START]
    passed = list[tuple[NDArray[np.float64], NDArray[np.float64]]]()
    for _ in range(depth):
        middle = stream + attention * even @ _cosines(stream) @ even.T
        passed.append((stream, middle))
        stream = middle + out * np.polynomial.polynomial.polyval(_cosines(middle), values)
        sizes.append(float(np.trace(stream)) / n)
    error, gradients = np.eye(n), [1.0]
    for before, middle in reversed(passed):
        alike = np.polynomial.polynomial.polyval(_cosines(middle), slopes)
        error = error + out * hidden * error * alike / _lengths(middle)
        error = error + attention * (even.T @ error @ even) / _lengths(before)
        gradients.append(float(np.trace(error)) / n)
    return {"activation": np.array(sizes), "gradient": np.array(gradients[::-1])}


def _lengths(stream: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute what a norm divides inner products of two tokens by."""
    return np.sqrt(np.outer(np.diag(stream), np.diag(stream)))


def _cosines(stream: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(stream / _lengths(stream), -1.0, 1.0)


def _gelu_series(variance: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expand E[gelu(a) gelu(b)] and E[gelu'(a) gelu'(b)] in powers of the cosine of a and b."""
    # By Mehler's formula the coefficient of the n-th power is c_n^2 / n!, where c_n is the
    # function's product with the n-th Hermite polynomial; for a smooth function it falls quickly.
    z = torch.from_numpy(math.sqrt(variance) * _NODES).requires_grad_()
    activation = functional.gelu(z)
    (slope,) = torch.autograd.grad(activation.sum(), z)

    def coefficient(values: NDArray[np.float64], order: int) -> float:
        hermite = np.polynomial.hermite_e.hermeval(_NODES, np.eye(order + 1)[order])
        product = float((_MASSES * values * hermite).sum() / _MASSES.sum())
        return product**2 / math.factorial(order)

    both = activation.detach().numpy(), slope.numpy()
    values, slopes = ([coefficient(each, order) for order in range(24)] for each in both)
    return np.array(values), np.array(slopes)
