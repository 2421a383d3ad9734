"""Numbers and texts as blocks of a page that are only read when they are looked at.

A block is base64 in a ``<script>`` of a type that no browser runs. Numbers are float32, or, where
there are very many, 16 bits on a logarithmic scale (an error of about 1e-4 of the value if its
layer's values span six orders of magnitude); texts are JSON, compressed.
"""

import base64
import gzip
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FEW = 64  # numbers, which are written where they are used
_MANY = 300_000  # numbers of one statistic in all layers, above which they are written briefly
_UNKNOWN, _SIGN = 0xFFFF, 0x8000

Reference = dict[str, Any] | list[Any]
"""What the page's script reads numbers and texts by: the block, or the numbers themselves."""


class Blocks:
    """The blocks of one page, in the order in which they were added."""

    def __init__(self) -> None:
        """Begin with none."""
        self.contents: list[str] = []

    def numbers(self, values: NDArray[Any], *, briefly: bool = False) -> Reference:
        """Add numbers.

        Args:
            values: The numbers, of any shape; they are read back flat.
            briefly: Write them in 16 bits.

        Returns:
            What they are read by.
        """
        flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
        if len(flat) <= _FEW:
            return [number_in_json(value) for value in flat]
        if not briefly:
            return {"f": "f4", "b": self._add(flat.astype("<f4").tobytes())}
        codes, scale = _brief(flat)
        return {"f": "u2", "b": self._add(codes.astype("<u2").tobytes()), **scale}

    def texts(self, texts: Any) -> Reference:
        """Add texts, or what else JSON can hold.

        Args:
            texts: The texts, made plain.

        Returns:
            What they are read by.
        """
        written = json.dumps(texts, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        packed = gzip.compress(written.encode(), compresslevel=6, mtime=0)
        return {"f": "gz", "b": self._add(packed)}

    def _add(self, content: bytes) -> int:
        self.contents.append(base64.b64encode(content).decode("ascii"))
        return len(self.contents) - 1


def number_in_json(value: float) -> float | str | None:
    """Write a number as the page's script reads it: infinity in letters, NaN as null."""
    if np.isnan(value):
        return None
    return float(f"{value:.7g}") if np.isfinite(value) else f"{value}".replace("inf", "Infinity")


def are_many(count: int) -> bool:
    """Tell whether so many numbers of one statistic are to be written briefly."""
    return count > _MANY


def _brief(values: NDArray[np.float64]) -> tuple[NDArray[np.uint16], dict[str, float]]:
    """Write numbers as steps on a logarithmic scale: 0 is zero, then sizes, with a bit for a sign.

    Args:
        values: The numbers; what is not finite is read back as not known.

    Returns:
        The steps, and the scale: a size is ``exp(low + step * (code - 1))``.
    """
    sizes = np.abs(values)
    seen = np.isfinite(values) & (values != 0)
    signed = bool((values[seen] < 0).any())
    logarithms = np.log(sizes[seen])
    low, high = (logarithms.min(), logarithms.max()) if seen.any() else (0.0, 0.0)
    most = (_SIGN if signed else _UNKNOWN) - 1
    if signed:
        most -= 1  # with its sign it would be the code of what is not known
    step = (high - low) / (most - 1) or 1.0
    codes = np.zeros(len(values), dtype=np.uint16)
    codes[seen] = 1 + np.round((logarithms - low) / step).astype(np.uint16)
    if signed:
        codes[values < 0] |= _SIGN
    codes[~np.isfinite(values)] = _UNKNOWN
    return codes, {"low": float(low), "step": float(step), "signed": int(signed)}
