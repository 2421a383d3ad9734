"""Whether a sum adds up, to the last bits, and which coefficients it takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_ROUNDINGS = 8  # how often the last bit may be lost on the way to a sum
_CLEAR = 100  # a number is clear if it is so many times what rounding may leave,
_SHARE = 0.05  # and a term is there if this share of its numbers is clear


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Coefficients with which a sum adds up.

    Attributes:
        kept: What the stream is multiplied by.
        coefficients: What each term is multiplied by.
    """

    kept: float
    coefficients: tuple[float, ...]


def adds_up(total: Tensor, parts: Sequence[Tensor], *, eps: float) -> bool:
    """Check a sum, number by number: each may be off by a few roundings of what it is made of.

    Args:
        total: The sum, in float64.
        parts: What it is made of, with their coefficients.
        eps: The relative rounding error of the format in which it was computed.

    Returns:
        Whether it adds up everywhere.
    """
    size = total.abs() + sum(part.abs() for part in parts)
    difference = (total - sum(parts)).abs()
    return bool((difference <= _ROUNDINGS * eps * size).all())


def fit(
    total: Float[Tensor, " numbers"],
    stream: Float[Tensor, " numbers"],
    terms: Sequence[Float[Tensor, " numbers"]],
    *,
    eps: float,
    scaled: bool,
) -> Fit | None:
    """Find the coefficients in ``total = kept * stream + sum of coefficient * term``.

    Ones are tried first, then short decimals near the least-squares solution, since those who write
    models write such numbers; the solution itself is the last resort.

    Args:
        total: The sum.
        stream: The stream before it.
        terms: What is added.
        eps: The relative rounding error of the format in which it was computed.
        scaled: The stream may be multiplied by a number, too.

    Returns:
        The coefficients; None if it does not add up with any, or would without one of the terms.
    """
    columns = [*terms, stream] if scaled else list(terms)
    target = total if scaled else total - stream
    solved = torch.linalg.lstsq(torch.stack(columns, dim=1), target[:, None]).solution[:, 0]
    if not solved.isfinite().all():
        return None
    for digits in (0, 1, 2, 3, 4, None):
        found = [_rounded(float(each), digits) for each in solved]
        kept = found.pop() if scaled else 1.0
        parts = [c * term for c, term in zip(found, terms, strict=True)]
        if adds_up(total, [kept * stream, *parts], eps=eps):
            is_there = all(_is_clear(part, total, eps) for part in (kept * stream, *parts))
            return Fit(kept=kept, coefficients=tuple(found)) if is_there else None
    return None


def _is_clear(part: Tensor, total: Tensor, eps: float) -> bool:
    """Whether a part is large enough for the sum to prove it."""
    clear = part.abs() > _CLEAR * _ROUNDINGS * eps * total.abs()
    return bool(clear.double().mean() > _SHARE)


def _rounded(value: float, digits: int | None) -> float:
    return value if digits is None else float(f"{value:.{digits}e}")
