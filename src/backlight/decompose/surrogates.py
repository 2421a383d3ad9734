"""How well simpler backward rules of a norm agree with the true one.

All act on ``u = gain * grad``; ``z`` is the norm's normalised input, ``sigma`` what it divided by:

- ``identity`` (straight-through): ``u``;
- ``scale`` (statistics detached): ``u / sigma``;
- ``center_scale``: ``(u - mean u) / sigma``;
- ``projected``: ``u - mean u - z mean(u z)``;
- ``radial_only``: ``(u - z mean(u z)) / sigma``.

For an RMS norm ``mean u`` counts as 0, so ``center_scale`` is ``scale`` and ``radial_only`` is the
truth. Cosines and lengths follow exactly from five numbers per token (``norm.NormEnergies``), all
of them sums of squares, so that nothing cancels and no surrogate is ever held.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.decompose.norm import NormEnergies
from backlight.errors import ConfigError

Surrogate = Literal["identity", "scale", "center_scale", "projected", "radial_only"]
SURROGATES: tuple[Surrogate, ...] = get_args(Surrogate)
"""The order of the last axis in all that follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurrogateMatch:
    """Each surrogate beside the true gradient at the norm's input, for each token.

    Attributes:
        cosine: The cosine with the true gradient; NaN at a token whose true gradient is zero.
        square: The surrogate's squared length.
        true_square: The true gradient's squared length.
    """

    cosine: Float[Tensor, "*tokens surrogates"]
    square: Float[Tensor, "*tokens surrogates"]
    true_square: Float[Tensor, "*tokens"]

    @property
    def norm_ratio(self) -> Float[Tensor, "*tokens surrogates"]:
        """Each surrogate's length over the true one's."""
        return (self.square / self.true_square.unsqueeze(-1)).sqrt()


def match_surrogates(energies: NormEnergies) -> SurrogateMatch:
    """Compare every surrogate with the true backward, in closed form.

    With t the true gradient times sigma, and e the energies: ``|u|^2 = whole``,
    ``|u - mean u|^2 = rest + radial + 2 overlap``, ``|u - z mean(u z)|^2 = rest + mean``,
    ``<u, t> = <u - mean u, t> = rest + overlap``, ``<u - z mean(u z), t> = <t, t> = rest``.

    Args:
        energies: The energies of the tokens.

    Returns:
        Cosines and squared lengths, in the order of ``SURROGATES``.
    """
    rest, whole, variance = energies.rest, energies.whole, energies.sigma.square()
    # Sums only: rest, mean and radial part are at right angles but for eps (the overlap).
    centred = rest + energies.radial + 2 * energies.overlap
    unstretched, inner = rest + energies.mean, rest + energies.overlap
    squares = torch.stack([whole, whole, centred, rest, unstretched], dim=-1)
    # What a surrogate keeps of the mean or the radial part does not meet t, which has neither.
    inners = torch.stack([inner, inner, inner, rest, rest], dim=-1)
    divisors = torch.stack([torch.ones_like(variance), variance, variance], dim=-1)
    return SurrogateMatch(
        cosine=inners / (squares.sqrt() * rest.sqrt().unsqueeze(-1)),
        square=squares / divisors[..., [0, 1, 1, 0, 1]],
        true_square=rest / variance,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChanceLevels:
    """What a gradient gives that has nothing to do with the norm's input.

    Of a u whose direction is drawn evenly from all, with eps = 0: the energy shares are expected
    values; cosines are roots of the expected square, norm ratios its inverse roots.

    Attributes:
        r_mean: The share of the mean part.
        r_radial: The share of the radial part.
        cosine: The cosine of each surrogate with the true gradient.
        norm_ratio: The length of each surrogate over that of the true gradient.
    """

    r_mean: float
    r_radial: float
    cosine: Mapping[Surrogate, float]
    norm_ratio: Mapping[Surrogate, float]


def norm_chance(width: int, *, is_centred: bool, sigma: float = 1.0) -> ChanceLevels:
    """Compute the chance levels of a norm: each direction it takes out holds 1/d of the energy.

    Args:
        width: d, the norm's width; one more at least than the directions that are taken out.
        is_centred: It is a layer norm, which takes out two; if not, an RMS norm, which takes out
            one, so that ``r_mean`` is zero by structure.
        sigma: What the norm divides by; it scales the surrogates that do not.

    Returns:
        The levels that stand beside what was measured.

    Raises:
        ConfigError: The width is too small.
    """
    norm, least = ("A layer", 3) if is_centred else ("An RMS", 2)
    if width < least:
        raise ConfigError(
            f"{norm} norm of width {width} leaves no gradient; take {least} at least."
        )
    mean, radial = 1 / width if is_centred else 0.0, 1 / width
    one = torch.ones((), dtype=torch.float64)
    match = match_surrogates(
        NormEnergies(
            mean=mean * one,
            radial=radial * one,
            rest=(1 - mean - radial) * one,
            overlap=0 * one,
            sigma=sigma * one,
        )
    )
    cosines, ratios = match.cosine.tolist(), match.norm_ratio.tolist()
    return ChanceLevels(
        r_mean=mean,
        r_radial=radial,
        cosine=dict(zip(SURROGATES, cosines, strict=True)),
        norm_ratio=dict(zip(SURROGATES, ratios, strict=True)),
    )
