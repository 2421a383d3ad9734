"""How large a change is beside the residual stream that it changes.

A unit that is set to zero takes its term out of the residual stream. With r the stream behind the
addition and c the change, both at one token, the relative size is the mean over tokens of
``|c| / |r|``. On the way from its site to the stream a change passes only linear maps (``through``,
that of ``backlight.models.streams.Way``) and at most one factor for each token, the scale of a
post-norm, so the length of every unit's change is known without a pass through the model:

- dimension i: ``|x_i|`` times the length of what one unit of it adds;
- head h: ``|W_h z_h|``, by the head's Gram matrix ``W_h' W_h``;
- feature f: ``|f|`` times the length of what its decoder row adds;
- whole site: the length of what the tensor itself adds.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_ROWS = 64  # unit vectors at a time

Through = Callable[[Tensor], Tensor]
"""Carries changes of a site, one a row, to the stream: ``Way.through``."""


def token_weights(
    stream_norms: Float[Tensor, "batch positions"],
    valid: Bool[Tensor, "batch positions"],
    scale: Float[Tensor, "batch positions"] | None = None,
) -> Float[Tensor, "batch positions"]:
    """Compute what lengths of changes are multiplied by to become relative sizes.

    >>> token_weights(torch.tensor([[2.0, 4.0]]), torch.tensor([[True, False]]))
    tensor([[0.5000, 0.0000]])

    Args:
        stream_norms: The length of the stream behind the addition, at each token.
        valid: Where there is a token.
        scale: What a post-norm multiplies each token by, None without.

    Returns:
        ``scale / |stream|``; zero at pads, and at a token whose stream is exactly zero.
    """
    known = valid & (stream_norms > 0)
    weights = torch.where(known, 1 / torch.where(known, stream_norms, 1.0), 0.0)
    return weights if scale is None else weights * scale


def unit_lengths(width: int, through: Through, like: Tensor) -> Float[Tensor, " width"]:
    """Compute how long a change one unit of each dimension of a site makes.

    Args:
        width: How many dimensions the site has.
        through: Carries a change of the site to the stream.
        like: A tensor of the number format and on the device that is wanted.

    Returns:
        One length for each dimension; 1 where nothing lies between site and stream.
    """
    # Part by part: the square of a width is more memory than all that is looked at.
    places = torch.arange(width, device=like.device)
    return torch.cat(
        [
            row_lengths((part[:, None] == places).to(like.dtype), through)
            for part in places.split(_ROWS)
        ]
    )


def row_lengths(rows: Float[Tensor, "units width"], through: Through) -> Float[Tensor, " units"]:
    """Compute how long a change each of some rows makes, such as the rows of a decoder."""
    return torch.linalg.vector_norm(through(rows), dim=-1)


def dimension_sizes(
    x: Float[Tensor, "*tokens width"], lengths: Float[Tensor, " width"]
) -> Float[Tensor, "*tokens width"]:
    """Compute each token's length of the change when one dimension is set to zero.

    >>> dimension_sizes(torch.tensor([[3.0, -4.0]]), torch.tensor([1.0, 0.5]))
    tensor([[3., 2.]])

    Args:
        x: The activation at the site.
        lengths: Those of ``unit_lengths``.

    Returns:
        One length for each dimension, before the scale of a post-norm.
    """
    return x.abs() * lengths


def feature_sizes(
    values: Float[Tensor, " entries"],
    features: Int[Tensor, " entries"],
    lengths: Float[Tensor, " features"],
) -> Float[Tensor, " entries"]:
    """Compute the length of the change when one feature is set to zero where it fires.

    Args:
        values: The features' values.
        features: Which features these are.
        lengths: Those of ``row_lengths`` of the decoder.

    Returns:
        One length for each entry, before the scale of a post-norm.
    """
    return values.abs() * lengths[features]


def head_grams(
    width: int, num_heads: int, through: Through, like: Tensor
) -> Float[Tensor, "heads head_width head_width"]:
    """Compute each head's Gram matrix of what lies between the heads' outputs and the stream.

    Args:
        width: The width of all heads side by side.
        num_heads: How many heads there are.
        through: Carries a change of the heads' outputs to the stream.
        like: A tensor of the number format and on the device that is wanted.

    Returns:
        ``W_h' W_h`` for each head, by which ``|W_h z_h|^2 = z_h' (W_h' W_h) z_h``.
    """
    eye = torch.eye(width, dtype=like.dtype, device=like.device)
    rows = through(eye).unflatten(0, (num_heads, -1))
    return rows @ rows.mT


def head_sizes(
    z: Float[Tensor, "*tokens all_heads"], grams: Float[Tensor, "heads head_width head_width"]
) -> Float[Tensor, "*tokens heads"]:
    """Compute each token's length of the change when one head's output is set to zero.

    Args:
        z: The heads' outputs before the output projection, side by side.
        grams: Those of ``head_grams``.

    Returns:
        One length for each head, before the scale of a post-norm.
    """
    heads = z.unflatten(-1, (len(grams), -1))
    squares = (torch.einsum("...hi,hij->...hj", heads, grams) * heads).sum(dim=-1)
    return squares.clamp(min=0).sqrt()  # rounding can leave it a little below zero


def whole_sizes(x: Float[Tensor, "*tokens width"], through: Through) -> Float[Tensor, "*tokens"]:
    """Compute each token's length of the change when the whole site is set to zero."""
    return torch.linalg.vector_norm(through(x), dim=-1)
