"""Two paths back through a residual block ``y = x + f(x)``: around f, and through it.

``dL/dx = dL/dy + (df/dx)' dL/dy``: the direct path passes the gradient on as it is, the transform
path is what f adds. It is a difference of two gradients, so f is never run again. Added up from
the last block to the first, transform paths lead from the gradient at the top to the gradient at
the embedding.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backlight.decompose.precision import at_least_single, wide


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualPaths:
    """The gradient at the input of a residual block, as the sum of its two paths.

    Attributes:
        direct: What passes around the block: the gradient at its output.
        transform: What comes back through it.
    """

    direct: Float[Tensor, "*tokens width"]
    transform: Float[Tensor, "*tokens width"]

    @property
    def direct_square(self) -> Float[Tensor, "*tokens"]:
        """Each token's squared length of the direct path."""
        return torch.linalg.vecdot(self.direct, self.direct)

    @property
    def transform_square(self) -> Float[Tensor, "*tokens"]:
        """Each token's squared length of the transform path."""
        return torch.linalg.vecdot(self.transform, self.transform)

    @property
    def inner(self) -> Float[Tensor, "*tokens"]:
        """Each token's inner product of the paths: negative where they cancel."""
        return torch.linalg.vecdot(self.direct, self.transform)

    @property
    def cosine(self) -> Float[Tensor, "*tokens"]:
        """Each token's cosine between the paths; NaN where one of them is zero."""
        return self.inner / (self.direct_square.sqrt() * self.transform_square.sqrt())


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSums:
    """Each sequence's sums over its tokens, in float64.

    Attributes:
        num_tokens: Tokens.
        num_live: Tokens at which neither path is zero.
        direct_square: Squared lengths of the direct path.
        transform_square: Squared lengths of the transform path.
        total_square: Squared lengths of the gradient at the block's input.
        inner: Inner products of the paths.
        cosine: The sum of live tokens' cosines between the paths.
    """

    num_tokens: Float[Tensor, " sequences"]
    num_live: Float[Tensor, " sequences"]
    direct_square: Float[Tensor, " sequences"]
    transform_square: Float[Tensor, " sequences"]
    total_square: Float[Tensor, " sequences"]
    inner: Float[Tensor, " sequences"]
    cosine: Float[Tensor, " sequences"]


def residual_paths(
    grad_in: Float[Tensor, "*tokens width"], grad_out: Float[Tensor, "*tokens width"]
) -> ResidualPaths:
    """Split the gradient at a residual block's input by the path it came on.

    >>> upstream, at_input = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    >>> paths = residual_paths(at_input, upstream)
    >>> paths.transform.tolist(), paths.cosine.tolist()  # what the block adds is at right angles
    ([[0.0, 1.0]], [0.0])

    Args:
        grad_in: The gradient at the stream where it enters the block, ``dL/dx``.
        grad_out: The gradient at the stream behind the block's addition, ``dL/dy``.

    Returns:
        The two paths, in float32 where the gradients are in half precision.
    """
    direct = at_least_single(grad_out)
    return ResidualPaths(direct=direct, transform=at_least_single(grad_in) - direct)


def sum_paths(paths: ResidualPaths, valid: Bool[Tensor, "sequences positions"]) -> PathSums:
    """Add up a batch's tokens, sequence by sequence.

    Args:
        paths: The paths of tokens ``[sequences, positions]``.
        valid: Where there is a token; what stands elsewhere counts nowhere.

    Returns:
        One number for each sequence.
    """
    direct, transform, inner = paths.direct_square, paths.transform_square, paths.inner
    total = paths.direct + paths.transform
    live = valid & (direct > 0) & (transform > 0)
    cosine = inner / (direct.sqrt() * transform.sqrt())
    return PathSums(
        num_tokens=wide(valid.float()).sum(dim=1),
        num_live=wide(live.float()).sum(dim=1),
        direct_square=_sum(direct, valid),
        transform_square=_sum(transform, valid),
        total_square=_sum(torch.linalg.vecdot(total, total), valid),
        inner=_sum(inner, valid),
        cosine=_sum(cosine, live),
    )


def _sum(values: Tensor, where: Tensor) -> Tensor:
    return wide(torch.where(where, values, 0.0)).sum(dim=1)
