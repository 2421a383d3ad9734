"""Gradients with respect to features, in closed form.

For a decoder with rows w_f, ``dL/df = g . w_f``, where g is the gradient at the reconstruction,
multiplied by the token's scale where the dictionary normalises its input. So each feature has a
gradient at each token, whether it fires or not, and none of it needs autograd.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.dictionaries.codes import Codes

_TILE_TOKENS = 512
_TILE_BYTES = 2 * 2**20
_GATHERED_BYTES = 32 * 2**20


def absolute_sums(
    gradients: Float[Tensor, "tokens width"],
    lengths: Sequence[int],
    rows: Float[Tensor, "features width"],
) -> Iterator[tuple[Float[Tensor, "sequences features"], list[int]]]:
    """Sum the sizes of all features' gradients over each sequence's tokens.

    The product of tokens and features is taken tile by tile and summed while it is in the cache;
    it is never held.

    Args:
        gradients: g of all tokens, sequence after sequence, without pads.
        lengths: How many tokens each sequence has.
        rows: The decoder's rows.

    Yields:
        For some sequences at a time, in order: the sum of ``|g . w_f|`` of each sequence and
        feature, in the rows' number format, and the sequences' lengths.
    """
    start = 0
    for group in _group(lengths):
        tokens = gradients[start : start + sum(group)]
        start += len(tokens)
        yield _sums(tokens, group, rows), group


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductSums:
    """Sums of all features' gradients over the tokens of some sequences.

    Attributes:
        lengths: How many tokens each sequence has.
        signed: Of ``g . w_f``.
        absolute: Of ``|g . w_f|``.
        squared: Of ``(g . w_f)^2``.
    """

    lengths: list[int]
    signed: Float[Tensor, "sequences features"]
    absolute: Float[Tensor, "sequences features"]
    squared: Float[Tensor, "sequences features"]


def product_sums(
    gradients: Float[Tensor, "tokens width"],
    lengths: Sequence[int],
    rows: Float[Tensor, "features width"],
) -> Iterator[ProductSums]:
    """Sum all features' gradients, their sizes and their squares over each sequence's tokens.

    For decoders whose rows are so wide that a matrix of width times width, from which the squares
    would follow, is larger than the decoder. The product is taken as in ``absolute_sums``.

    Args:
        gradients: g of all tokens, sequence after sequence, without pads.
        lengths: How many tokens each sequence has.
        rows: The decoder's rows.

    Yields:
        The sums of some sequences at a time, in order, in the rows' number format.
    """
    start = 0
    for group in _group(lengths):
        tokens = gradients[start : start + sum(group)]
        start += len(tokens)
        members = _membership(group, tokens)
        signed, absolute, squared = (tokens.new_empty(len(group), len(rows)) for _ in range(3))
        for block, product in _tiles(tokens, rows):
            torch.mm(members, product, out=signed[:, block])
            torch.mm(members, product.abs_(), out=absolute[:, block])
            torch.mm(members, product.square_(), out=squared[:, block])
        yield ProductSums(lengths=group, signed=signed, absolute=absolute, squared=squared)


def gradients_where_active(
    gradients: Float[Tensor, "tokens width"],
    rows: Float[Tensor, "features width"],
    codes: Codes,
) -> Float[Tensor, " entries"]:
    """Compute the gradient of each feature at the tokens where it fires.

    Args:
        gradients: g of each token.
        rows: The decoder's rows.
        codes: What fires where.

    Returns:
        ``g . w_f`` for each entry of the codes.
    """
    # An entry needs its feature's row: gathered for all entries at once they would be as large as
    # tokens times fired features times width.
    size = max(1, _GATHERED_BYTES // (rows.shape[1] * rows.element_size()))
    parts = [
        torch.linalg.vecdot(gradients[tokens], rows[features])
        for tokens, features in zip(
            codes.tokens.split(size), codes.features.split(size), strict=True
        )
    ]
    return torch.cat(parts)


def _group(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Put whole sequences together until they make a tile."""
    # Whole ones, because the clustered error needs the sum of each sequence by itself.
    group: list[int] = []
    for length in lengths:
        if group and sum(group) + length > _TILE_TOKENS:
            yield group
            group = []
        group.append(length)
    if group:
        yield group


def _sums(tokens: Tensor, lengths: Sequence[int], rows: Tensor) -> Tensor:
    # |g . w| is no quadratic form in w, so each token must meet each row. But only sums over the
    # tokens of a sequence are wanted: a tile of the product is made in memory that is used again
    # and again and stays in the cache, and a second product, with the 0s and 1s of ``members``,
    # adds up its rows. Held as a whole it would be tokens times features, and reading it back
    # would cost more than computing it.
    members = _membership(lengths, tokens)
    sums = tokens.new_empty(len(lengths), len(rows))
    for block, product in _tiles(tokens, rows):
        torch.mm(members, product.abs_(), out=sums[:, block])
    return sums


def _tiles(tokens: Tensor, rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Multiply tokens with some rows at a time, in memory that the next product takes again."""
    size = max(64, _TILE_BYTES // (max(1, len(tokens)) * tokens.element_size()))
    tile = tokens.new_empty(len(tokens) * min(size, len(rows)))
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        product = tile[: len(tokens) * len(block)].view(len(tokens), len(block))
        torch.mm(tokens, block.T, out=product)
        yield slice(start, start + size), product


def _membership(lengths: Sequence[int], tokens: Tensor) -> Tensor:
    """Mark which tokens belong to which sequence: a product with it sums over sequences."""
    sequences = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    members = torch.zeros(len(lengths), len(tokens))
    members[sequences, torch.arange(len(tokens))] = 1.0
    return members.to(tokens)
