"""Whether a gradient vanishes or explodes on its way from the last layer to the embedding.

The slope is that of the logarithm of the gradient's norm per layer walked *backward*: negative, it
vanishes, positive, it explodes. (Pascanu et al. 2013: a recurrence whose largest singular value is
small must vanish; a large one is only necessary for an explosion. The slope says what happened.)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.errors import ConfigError

__all__ = ["DepthSlope", "depth_slope"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthSlope:
    """How the logarithm of a gradient's norm changes per layer walked backward.

    Attributes:
        slope: By least squares, in nats per layer; NaN where some depth has no gradient.
        low: The lower end of its interval; NaN with fewer than two sequences.
        high: The upper end.
    """

    slope: Float[Tensor, "*series"]
    low: Float[Tensor, "*series"]
    high: Float[Tensor, "*series"]


def depth_slope(
    squares: Float[Tensor, "sequences depths *series"],
    generator: torch.Generator,
    *,
    level: float = 0.95,
    num_resamples: int = 1000,
) -> DepthSlope:
    """Fit a line through log norms along depth, with an interval by bootstrap over sequences.

    The norm at a depth is the root of the sum over all sequences. Sequences are drawn anew with
    replacement; the interval lies between percentiles of the slopes. Draws in which some depth has
    no gradient have no slope and are left out.

    Args:
        squares: Each sequence's sum of squared gradients over tokens at each depth, in the order of
            the forward pass: the embedding first, the last layer last. Further axes are series of
            their own, such as token positions.
        generator: Draws the sequences.
        level: How much of the resampled slopes the interval holds.
        num_resamples: How often to draw.

    Returns:
        The slope of each series, and its interval.

    Raises:
        ConfigError: Fewer than two depths, or a level that is not between 0 and 1.
    """
    if squares.shape[1] < 2:
        raise ConfigError(f"A slope needs two depths; there is {squares.shape[1]}.")
    if not 0 < level < 1:
        raise ConfigError(f"The level {level} of an interval is not between 0 and 1.")
    squares = squares.detach().to("cpu", torch.float64)
    slope = _slope(squares.sum(dim=0, keepdim=True))[0]
    if len(squares) < 2:
        unknown = torch.full_like(slope, torch.nan)
        return DepthSlope(slope=slope, low=unknown, high=unknown.clone())
    drawn = _slope(torch.tensordot(_draws(len(squares), num_resamples, generator), squares, dims=1))
    tail = (1 - level) / 2
    low, high = torch.nanquantile(drawn, torch.tensor([tail, 1 - tail]).double(), dim=0)
    return DepthSlope(slope=slope, low=low, high=high)


def _draws(num_sequences: int, num_resamples: int, generator: torch.Generator) -> Tensor:
    """Count how often each sequence is drawn, in each of many draws of all with replacement."""
    places = torch.randint(num_sequences, (num_resamples, num_sequences), generator=generator)
    counts = torch.zeros(num_resamples, num_sequences, dtype=torch.float64)
    return counts.scatter_add_(1, places, torch.ones_like(counts))


def _slope(squares: Float[Tensor, "draws depths *series"]) -> Float[Tensor, " draws *series"]:
    logs = torch.where(squares > 0, squares, torch.nan).log() / 2
    num_depths = squares.shape[1]
    backward = torch.arange(num_depths - 1, -1, -1, dtype=torch.float64)
    backward -= backward.mean()
    return torch.tensordot(backward / backward.square().sum(), logs.movedim(1, 0), dims=1)
