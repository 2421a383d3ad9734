"""The tensors of a dictionary's file, checked at the door."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.errors import DictionaryError, listed, quoted


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The tensors of one file, each taken once, in the number format and place asked for.

    Attributes:
        path: The file.
        names: The names of its tensors.
        fetch: Reads one of them as it is in the file.
        dtype: What to convert to.
        device: Where to put them.
    """

    path: Path
    names: tuple[str, ...]
    fetch: Callable[[str], object]
    dtype: torch.dtype
    device: torch.device

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return tuple(self._raw(name).shape)

    def length(self, name: str) -> int:
        """Return how many numbers a vector has; other tensors are refused."""
        shape = self.shape(name)
        if len(shape) != 1 or not shape[0]:
            raise DictionaryError(
                f"The tensor {quoted(name)} in {quoted(self.path)} is {list(shape)}, but must be a "
                "vector."
            )
        return shape[0]

    def matrix(
        self, name: str, rows: int, columns: int, *, transposed: bool = False
    ) -> Float[Tensor, "rows columns"]:
        """Take a matrix.

        Args:
            name: Its name.
            rows: How many rows the result has.
            columns: And how many columns.
            transposed: The file holds its transpose.

        Returns:
            The matrix, contiguous.

        Raises:
            DictionaryError: If it is missing, has another shape, or holds NaN or infinity.
        """
        stored = (columns, rows) if transposed else (rows, columns)
        raw = self._checked(name, stored)
        return self._copied(name, raw.T if transposed else raw)

    def rows_side_by_side(
        self, name: str, rows: int, columns: int
    ) -> Float[Tensor, "rows all_columns"]:
        """Take a stack of matrices, ``[rows, matrices, columns]``, as one matrix.

        Args:
            name: Its name.
            rows: How many rows each has.
            columns: And how many columns.

        Returns:
            The matrices side by side; raises as ``matrix`` does.
        """
        shape = self.shape(name)
        number = shape[1] if len(shape) == 3 and shape[1] else 1
        raw = self._checked(name, (rows, number, columns))
        return self._copied(name, raw.flatten(1))

    def vector(self, name: str, size: int) -> Float[Tensor, " size"]:
        """Take a vector; raises as ``matrix`` does."""
        return self._copied(name, self._checked(name, (size,)))

    def number(self, name: str) -> float:
        """Take a tensor of one number."""
        raw = self._raw(name)
        if raw.numel() != 1:
            raise DictionaryError(
                f"The tensor {quoted(name)} in {quoted(self.path)} is {list(raw.shape)}, but must "
                "be one number."
            )
        return float(raw.item())

    def _raw(self, name: str) -> Tensor:
        if name not in self.names:
            raise DictionaryError(
                f"There is no tensor {quoted(name)} in {quoted(self.path)}, only "
                f"{listed(self.names) or 'none'}; it is of another kind than is told beside it, or "
                "incomplete."
            )
        raw = self.fetch(name)
        if not isinstance(raw, Tensor):
            raise DictionaryError(
                f"{quoted(name)} in {quoted(self.path)} is {type(raw).__name__}, not a tensor."
            )
        if raw.numel() * raw.element_size() > raw.untyped_storage().nbytes():
            raise DictionaryError(
                f"The tensor {quoted(name)} in {quoted(self.path)} says that it has "
                f"{raw.numel():,} numbers, but the file holds fewer; it is damaged."
            )
        return raw.detach()

    def _checked(self, name: str, shape: tuple[int, ...]) -> Tensor:
        raw = self._raw(name)
        found = tuple(raw.shape)
        if found != shape:
            hint = "; it is transposed" if found == shape[::-1] else ""
            raise DictionaryError(
                f"The tensor {quoted(name)} in {quoted(self.path)} is {list(found)}, but must be "
                f"{list(shape)}{hint}."
            )
        if not raw.is_floating_point():
            raise DictionaryError(
                f"The tensor {quoted(name)} in {quoted(self.path)} holds {_name_of(raw.dtype)} "
                "numbers, but must hold floating point numbers."
            )
        return raw

    def _copied(self, name: str, raw: Tensor) -> Tensor:
        """Copy out of the mapped file: converted, moved and laid out in one step."""
        kept = torch.empty(raw.shape, dtype=self.dtype, device=self.device)
        kept.copy_(raw)
        if kept.numel() and not all(map(torch.isfinite, kept.aminmax())):
            raise DictionaryError(
                f"The tensor {quoted(name)} in {quoted(self.path)} holds NaN or infinity in "
                f"{_name_of(self.dtype)}; nothing can be measured with it."
            )
        return kept


def fold_norms(
    rows: Float[Tensor, "features width"],
    encoder_rows: Float[Tensor, "features input_width"],
    encoder_bias: Float[Tensor, " features"],
) -> None:
    """Divide each decoder row by its norm, and make its feature larger by as much, in place.

    Args:
        rows: The decoder's rows.
        encoder_rows: What each feature looks for.
        encoder_bias: Added to the product with the input.
    """
    norms = rows.norm(dim=1)
    rows.div_(norms.where(norms > 0, 1.0)[:, None])
    encoder_rows.mul_(norms[:, None])
    encoder_bias.mul_(norms)


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
