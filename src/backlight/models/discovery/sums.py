"""Whether a sum adds up, to the last bits, and which coefficients it takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

_HALF = 1e-4  # what is rounded by more is half precision: there every rounding counts,
_ROUNDINGS, _ROUNDINGS_IN_HALF = 8, 1  # so the last bit may be lost less often on the way to a sum
_CLEAR, _CLEAR_IN_HALF = 100, 4  # a number is clear if it is so many times what rounding may leave,
_BIASED = 2  # rounding goes up as often as down; the sum of so many is far more than its bound
_SHARE = 0.05  # and a term is there if this share of its numbers is clear
_SAMPLE = 128  # numbers that are looked at before all are
_NEAR = 1e-3  # what may be left of these, relative to their size

Keeping = Literal["whole", "scaled", "scaled by channel"]
"""What becomes of the stream before something is added to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Coefficients with which a sum adds up.

    Attributes:
        terms: Which of the candidates are added.
        kept: What the stream is multiplied by; None if each channel has a number of its own.
        coefficients: What each term is multiplied by, None likewise.
    """

    terms: tuple[int, ...]
    kept: float | None
    coefficients: tuple[float | None, ...]


def adds_up(total: Tensor, parts: Sequence[Tensor], *, eps: float) -> bool:
    """Check a sum, number by number: each may be off by a few roundings of what it is made of.

    In half precision a wrong coefficient could hide in that; but what it leaves goes along with
    what it multiplies, and what rounding leaves does not.

    Args:
        total: The sum, in float64.
        parts: What it is made of, with their coefficients.
        eps: The relative rounding error of the format in which it was computed.

    Returns:
        Whether it adds up everywhere.
    """
    rounded = roundings(eps) * eps * torch.stack([total, *parts]).abs().sum(0)
    difference = total - torch.stack(list(parts)).sum(0)
    if not (difference.abs() <= rounded).all():
        return False
    return eps < _HALF or not any(_goes_along(difference, part, rounded) for part in parts)


def roundings(eps: float) -> int:
    """Return how often the last bit may be lost."""
    return _ROUNDINGS if eps < _HALF else _ROUNDINGS_IN_HALF


def _goes_along(difference: Tensor, part: Tensor, rounded: Tensor) -> bool:
    by_chance = (rounded * part).square().sum().sqrt()
    return bool((difference * part).sum().abs() > _BIASED * by_chance)


def fits(
    total: Float[Tensor, "tokens width"],
    stream: Float[Tensor, "tokens width"],
    candidates: Sequence[Float[Tensor, "tokens width"]],
    *,
    num_terms: int,
    keeping: Keeping,
    eps: float,
) -> Iterator[Fit]:
    """Find the candidates with which ``total = kept * stream + sum of coefficient * term``.

    Args:
        total: The sum.
        stream: The stream before it.
        candidates: What could be added.
        num_terms: How many of them are.
        keeping: Whether the stream may be multiplied by something, too.
        eps: The relative rounding error of the format in which it was computed.

    Yields:
        Every choice that adds up, and would not without one of its terms.
    """
    for chosen in _near(total, stream, candidates, num_terms, keeping, eps):
        terms = [candidates[index] for index in chosen]
        if keeping == "scaled by channel":
            found = fit_channels(total, stream, terms, eps)
        else:
            found = _by_numbers(total, stream, terms, keeping, eps)
        if found is not None:
            yield Fit(terms=chosen, kept=found[0], coefficients=tuple(found[1:]))


def _near(
    total: Tensor,
    stream: Tensor,
    candidates: Sequence[Tensor],
    num_terms: int,
    keeping: Keeping,
    eps: float,
) -> list[tuple[int, ...]]:
    """Choose the terms that fit a sample of all numbers, so that few have to be tried on all."""
    choices = list(combinations(range(len(candidates)), num_terms))
    if not choices or keeping == "scaled by channel":
        return choices
    generator = torch.Generator().manual_seed(0)
    sample = torch.randperm(total.numel(), generator=generator)[:_SAMPLE]
    rows = torch.stack([each.flatten()[sample] for each in candidates])
    columns = rows[torch.tensor(choices)].transpose(1, 2)
    target = total.flatten()[sample]
    stream = stream.flatten()[sample]
    rounded = roundings(eps) * eps * (target.abs() + stream.abs())
    if keeping == "whole":
        target = target - stream
    else:
        columns = torch.cat([stream[None, :, None].expand(len(choices), -1, -1), columns], dim=-1)
    target = target.expand(len(choices), -1)[..., None]
    left = (target - columns @ (torch.linalg.pinv(columns) @ target)).square().sum((1, 2))
    near = left <= _NEAR**2 * target[0].square().sum() + rounded.square().sum()
    return [choice for choice, is_near in zip(choices, near.tolist(), strict=True) if is_near]


def _by_numbers(
    total: Tensor, stream: Tensor, terms: Sequence[Tensor], keeping: Keeping, eps: float
) -> list[float] | None:
    """Fit a number to each term: ones, then short decimals, then the least squares themselves."""
    # Those who write models write ones and short decimals.
    is_whole = keeping == "whole"
    columns = torch.stack([each.flatten() for each in (terms if is_whole else (stream, *terms))], 1)
    target = (total - stream if is_whole else total).flatten()
    solved = torch.linalg.lstsq(columns, target[:, None]).solution[:, 0].tolist()
    for digits in (0, 1, 2, 3, 4, 16):
        found = [float(f"{each:.{digits}e}") for each in solved]
        found = [1.0, *found] if is_whole else found
        parts = [c * each for c, each in zip(found, (stream, *terms), strict=True)]
        if adds_up(total, parts, eps=eps):
            return found if _are_clear(parts, total, eps) else None
    return None


def fit_channels(
    total: Tensor, stream: Tensor, terms: Sequence[Tensor], eps: float
) -> list[float | None] | None:
    """Fit a number to each channel of each term; what is one everywhere is told as one."""
    columns = torch.stack([stream, *terms], dim=-1).transpose(0, 1)
    solved = torch.linalg.pinv(columns) @ total.T[..., None]
    parts = list((columns * solved.transpose(1, 2)).permute(2, 1, 0))
    if not adds_up(total, parts, eps=eps) or not _are_clear(parts, total, eps):
        return None
    ones = [bool((each - 1).abs().max() < min(1e3 * eps, 0.05)) for each in solved[..., 0].T]
    return [1.0 if is_one else None for is_one in ones]


def _are_clear(parts: Sequence[Tensor], total: Tensor, eps: float) -> bool:
    """Whether every part is large enough for the sum to prove it."""
    clear = _CLEAR if eps < _HALF else _CLEAR_IN_HALF
    least = clear * roundings(eps) * eps * total.abs()
    return all(bool((part.abs() > least).double().mean() > _SHARE) for part in parts)
