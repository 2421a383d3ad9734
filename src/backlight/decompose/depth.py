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


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthSlope:
    """How the logarithm of a gradient's norm changes per layer walked backward.

    Attributes:
        slope: By least squares, in nats per layer; NaN where some depth has no gradient.
        low: The lower end of its interval; NaN where no replicate has a slope.
        high: The upper end.
    """

    slope: Float[Tensor, "*series"]
    low: Float[Tensor, "*series"]
    high: Float[Tensor, "*series"]


def depth_slope(
    squares: Float[Tensor, " depths *series"],
    replicates: Float[Tensor, "replicates depths *series"],
    *,
    level: float = 0.95,
) -> DepthSlope:
    """Fit a line through log norms along depth, with an interval from sums of other samples.

    The norm at a depth is the root of a sum over all sequences. The interval lies between
    percentiles of the replicates' slopes; replicates in which some depth has no gradient have no
    slope and are left out.

    Args:
        squares: The sum of squared gradients over all tokens of all sequences at each depth, in the
            order of the forward pass: the embedding first, the last layer last. Further axes are
            series of their own, such as token positions.
        replicates: The same sums of each bootstrap sample of the sequences. Of a single sequence
            all samples have one slope: such an interval says nothing.
        level: How much of the replicates' slopes the interval holds.

    Returns:
        The slope of each series, and its interval.

    Raises:
        ConfigError: Fewer than two depths, or a level that is not between 0 and 1.
    """
    if len(squares) < 2:
        raise ConfigError(f"A slope needs two depths; there is {len(squares)}.")
    if not 0 < level < 1:
        raise ConfigError(f"The level {level} of an interval is not between 0 and 1.")
    slope = _slope(squares.unsqueeze(0))[0]
    drawn, tail = _slope(replicates), (1 - level) / 2
    ends = torch.tensor([tail, 1 - tail], dtype=drawn.dtype)
    low, high = torch.nanquantile(drawn, ends, dim=0)
    return DepthSlope(slope=slope, low=low, high=high)


def _slope(squares: Float[Tensor, "draws depths *series"]) -> Float[Tensor, " draws *series"]:
    squares = squares.detach().to("cpu", torch.float64)
    logs = torch.where(squares > 0, squares, torch.nan).log() / 2
    num_depths = squares.shape[1]
    backward = torch.arange(num_depths - 1, -1, -1, dtype=torch.float64)
    backward -= backward.mean()
    return torch.tensordot(backward / backward.square().sum(), logs.movedim(1, 0), dims=1)
