"""Where a tensor has a row of numbers for each token, and whether a row belongs to its token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from backlight.models.outputs import Member

Axes = tuple[int, int]
Fault = Literal["the other sequences of the batch", "later tokens", "the shape of the batch"]

MANY = (3, 7)
"""Sequences and tokens of the first trial; the second has other numbers of both, so that an axis
is known by what becomes of it, whatever sizes the model has."""
ALONE = (1, 5)
"""Of the second: the last sequence by itself, cut short."""
CHANGED_ROW, SHARED = 1, 3
"""The sequence whose tokens are changed, and how many of its first ones are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a module's output has a row of numbers for each token.

    Attributes:
        member: Which part of the output.
        axes: Which axes of it are batch and positions.
        width: How many numbers there are for each token.
        written: It is written into after it has passed.
    """

    member: Member
    axes: Axes
    width: int
    written: bool = False


def axes_of(many: Sequence[int], few: Sequence[int]) -> Axes | None:
    """Find the axes of batch and positions.

    The two trials differ in both, and in nothing else. So an axis whose size goes from 3 to 1 is
    the batch and one that goes from 7 to 5 the positions, wherever they stand; no size of the model
    can be taken for one of them, as it is the same in both.

    Args:
        many: A tensor's shape for ``MANY`` tokens.
        few: Its shape for ``ALONE``.

    Returns:
        The two axes, ``(0, 0)`` if the first holds one sequence after the other; None if they
        cannot be told.
    """
    if len(many) != len(few):
        return None
    sizes = enumerate(zip(many, few, strict=True))
    changed = {axis: (most, least) for axis, (most, least) in sizes if most != least}
    if changed == {0: (MANY[0] * MANY[1], ALONE[0] * ALONE[1])}:
        return (0, 0)
    places = {pair: axis for axis, pair in changed.items()}
    wanted = [(MANY[0], ALONE[0]), (MANY[1], ALONE[1])]
    if len(changed) != 2 or set(places) != set(wanted):
        return None
    return places[wanted[0]], places[wanted[1]]


def in_rows(tensor: Tensor, axes: Axes, shape: Sequence[int]) -> Tensor:
    """Lay a tensor out as one row of numbers per token.

    Args:
        tensor: The tensor.
        axes: See ``axes_of``.
        shape: How many sequences and positions there are.

    Returns:
        ``[batch, positions, width]``.
    """
    if axes not in {(0, 1), (0, 0)}:
        tensor = tensor.movedim(axes, (0, 1))
    return tensor.reshape(*shape, -1)


def moved(plain: Tensor, other: Tensor) -> Tensor:
    """Find at which tokens numbers differ between two trials, ``[batch, positions]``."""
    tolerance = _largest(plain) * _same(plain.dtype)
    return (_finite(plain) - _finite(other)).abs().amax(-1) > tolerance


def fault_of(plain: Tensor, changed: Tensor, alone: Tensor) -> Fault | None:
    """Find what the numbers of a token change with, besides itself and those before it.

    Args:
        plain: What came out for all sequences, one row of numbers for each token.
        changed: The same with other tokens at the end of one sequence.
        alone: For the beginning of the last sequence, by itself.

    Returns:
        The first fault, None if there is none.
    """
    change = moved(plain, changed)
    others = [row for row in range(MANY[0]) if row != CHANGED_ROW]
    if change[others].any():
        return "the other sequences of the batch"
    if change[CHANGED_ROW, :SHARED].any():
        return "later tokens"
    difference = (_finite(plain[-1:, : ALONE[1]]) - _finite(alone)).abs().max()
    # Other shapes take other ways through a matrix product, so the last bits may differ.
    tolerance = _largest(plain) * max(1e-4, 2 * _same(plain.dtype))
    return "the shape of the batch" if difference > tolerance else None


def _finite(tensor: Tensor) -> Tensor:
    """Take numbers that are not finite for zeros: minus infinity is usual in logits."""
    return torch.where(tensor.isfinite(), tensor, 0.0)


def _largest(tensor: Tensor) -> Tensor:
    return _finite(tensor).abs().max()


def _same(dtype: torch.dtype) -> float:
    """Return the relative difference up to which numbers count as the same."""
    return 1e-5 if torch.finfo(dtype).bits >= 32 else 4 * torch.finfo(dtype).eps
