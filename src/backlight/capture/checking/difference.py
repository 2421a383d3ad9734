"""How far two measurements of the same passages are apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, nan

import torch
from torch import Tensor

from backlight.capture.checking.measured import Measured

_LITTLE = 1e-4  # of the objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far two measurements are apart.

    Attributes:
        num_sites: At how many sites gradients were compared.
        gradient: The largest difference of a gradient, as a share of the largest absolute gradient
            of the same site in the same passage, or of a ten-thousandth (the rounding of the number
            format, if that is more) of ``Measured.steep`` where all are smaller; infinite if one is
            no number, NaN if no gradient was compared.
        site: Where that was; empty if all are equal, or none was compared.
        loss: The largest difference of a passage's objective, as a share of it; NaN as above.
    """

    num_sites: int = 0
    gradient: float = nan
    site: str = ""
    loss: float = nan


def difference_of(found: Measured, expected: Measured) -> Difference:
    """Compare a measurement with one that is taken to be right.

    Args:
        found: The measurement. Every site and passage of it must be in the other one.
        expected: The other one.

    Returns:
        How far they are apart.
    """
    shares = dict(_by_site(found, expected))
    worst = max(shares, key=shares.__getitem__, default="")
    return Difference(
        num_sites=len(shares),
        gradient=shares.get(worst, nan),
        site=worst if shares.get(worst) else "",
        loss=max(relative(found.value[each], expected.value[each]) for each in found.value),
    )


def relative(found: float, expected: float) -> float:
    """Return a difference as a share of what is expected; infinite if it is no number."""
    difference = abs(found - expected)
    if difference == 0:
        return 0.0
    share = difference / abs(expected) if expected else inf
    return share if share == share else inf


def relative_to_largest(found: Tensor, expected: Tensor, *, least: float = 0.0) -> float:
    """Return the largest difference as a share of the largest absolute value of ``expected``.

    Args:
        found: What was found.
        expected: What it should be.
        least: What it is a share of at least.

    Returns:
        The share; infinite if one is no number.
    """
    found, expected = found.double(), expected.double()
    if torch.equal(found, expected):
        return 0.0
    share = float((found - expected).abs().max() / expected.abs().max().clamp(min=least))
    return share if share == share else inf


def _by_site(found: Measured, expected: Measured) -> Iterator[tuple[str, float]]:
    for site, passages in found.gradients.items():
        there, steep = expected.gradients[site], expected.steep[site]
        yield (
            site,
            max(
                relative_to_largest(own, there[each], least=_zero(own) * steep[each])
                for each, own in passages.items()
            ),
        )


def _zero(gradient: Tensor) -> float:
    """Return the share of the objective below which a gradient is zero but for rounding."""
    return max(_LITTLE, torch.finfo(gradient.dtype).eps)
