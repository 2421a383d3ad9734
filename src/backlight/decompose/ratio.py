"""A ratio of sums over sequences, and how sure it is: what shares of energy are."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.decompose.precision import wide

__all__ = ["Ratio", "ratio_of_sums"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A ratio of means over tokens that come in sequences.

    Attributes:
        value: The sum of numerators over the sum of denominators; NaN where the latter is zero.
        se: Its standard error, with sequences as clusters; NaN with fewer than two.
    """

    value: Float[Tensor, "*series"]
    se: Float[Tensor, "*series"]


def ratio_of_sums(
    numerators: Float[Tensor, " sequences *series"],
    denominators: Float[Tensor, " sequences *#series"],
) -> Ratio:
    """Estimate a ratio of means and its error from the sums of sequences.

    With R the ratio of all sums, ``SE^2 = M / (M - 1) sum_m (N_m - R D_m)^2 / (sum_m D_m)^2``
    (Cochran, Sampling Techniques, 1977, 6.5). The error of a root of the ratio is
    ``se / (2 sqrt(value))``.

    Args:
        numerators: Each sequence's sum, such as the energy of a part.
        denominators: Each sequence's sum, such as the energy of the whole, or how many tokens.

    Returns:
        One ratio for each series.
    """
    numerators, denominators = wide(numerators), wide(denominators)
    count, total = len(numerators), denominators.sum(dim=0)
    value = numerators.sum(dim=0) / torch.where(total == 0, torch.nan, total)
    if count < 2:
        return Ratio(value=value, se=torch.full_like(value, torch.nan))
    spread = (numerators - value * denominators).square().sum(dim=0)
    return Ratio(value=value, se=(spread * count / (count - 1)).sqrt() / total)
