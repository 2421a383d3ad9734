"""Which axes of a tensor are batch and positions, and whether a row belongs to its token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

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
class Trial:
    """What came out for some tokens, one row of numbers for each token.

    Attributes:
        plain: For all sequences.
        changed: The same with other tokens at the end of one sequence.
        alone: For the beginning of the last sequence, by itself.
    """

    plain: Tensor
    changed: Tensor
    alone: Tensor

    def moves(self) -> Tensor:
        """Tell at which tokens the change made a difference, ``[batch, positions]``."""
        scale = _largest(self.plain)
        return (_finite(self.plain) - _finite(self.changed)).abs().amax(-1) > scale * _same(
            self.plain.dtype
        )

    def differs_alone(self) -> bool:
        """Tell whether the last sequence has other numbers by itself."""
        together = _finite(self.plain[-1:, : ALONE[1]])
        difference = (together - _finite(self.alone)).abs().max()
        # Other shapes take other ways through a matrix product, so the last bits may differ.
        return bool(difference > _largest(self.plain) * max(1e-4, 2 * _same(self.plain.dtype)))


def axes_of(many: Sequence[int], few: Sequence[int]) -> Axes | None:
    """Find the axes of batch and positions.

    Args:
        many: A tensor's shape for ``MANY`` tokens.
        few: Its shape for ``ALONE``.

    Returns:
        The two axes, ``(0, 0)`` if the first holds one sequence after the other; None if they
        cannot be told.
    """
    if len(many) != len(few):
        return None
    change = {
        axis: pair for axis, pair in enumerate(zip(many, few, strict=True)) if pair[0] != pair[1]
    }
    places = {pair: axis for axis, pair in change.items()}
    if change == {0: (MANY[0] * MANY[1], ALONE[0] * ALONE[1])}:
        return (0, 0)
    wanted = [(MANY[0], ALONE[0]), (MANY[1], ALONE[1])]
    if len(change) != 2 or set(places) != set(wanted):
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


def fault_of(trial: Trial) -> Fault | None:
    """Say what the numbers of a token change with, besides itself and those before it.

    Args:
        trial: What came out.

    Returns:
        The first fault, None if there is none.
    """
    moved = trial.moves()
    others = [row for row in range(MANY[0]) if row != CHANGED_ROW]
    if moved[others].any():
        return "the other sequences of the batch"
    if moved[CHANGED_ROW, :SHARED].any():
        return "later tokens"
    return "the shape of the batch" if trial.differs_alone() else None


def _finite(tensor: Tensor) -> Tensor:
    """Take numbers that are not finite for zeros: minus infinity is usual in logits."""
    return torch.where(tensor.isfinite(), tensor, 0.0)


def _largest(tensor: Tensor) -> Tensor:
    return _finite(tensor).abs().max()


def _same(dtype: torch.dtype) -> float:
    return 1e-5 if torch.finfo(dtype).bits >= 32 else 4 * torch.finfo(dtype).eps
