"""Numbers of a norm's tokens, added up by sequence: what is streamed over a corpus."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backlight.decompose.norm import NormEnergies
from backlight.decompose.precision import wide
from backlight.decompose.surrogates import match_surrogates

_ROUNDING = 1e-10  # of squared lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class NormSums:
    """Each sequence's sums over its tokens, in float64.

    Sums of two sets of sequences stand one after the other; shares of any set of them follow.
    A *live* token is one at which a gradient is left behind the norm: elsewhere (at a last token,
    which predicts nothing) shares and cosines do not exist. What is below 1e-5 of the sequence's
    largest is taken for rounding: the query of a first token, which attends to itself alone, has
    no gradient but that. ``heads`` is there for norms of queries and keys.

    Attributes:
        num_tokens: Tokens.
        num_live: Live tokens.
        mean: Energy of the mean part of u.
        radial: Energy of its radial part.
        rest: Energy of what is left.
        whole: Energy of u.
        token_r_mean: The sum of live tokens' own shares of the mean part.
        token_r_radial: The sum of live tokens' own shares of the radial part.
        sigma: The sum of sigma over tokens.
        sigma_square: The sum of its squares.
        cosine: The sum of live tokens' cosines with the true gradient, for each surrogate.
        square: The sum of squared lengths, for each surrogate.
        true_square: The sum of squared lengths of the true gradient.
    """

    num_tokens: Float[Tensor, " sequences"]
    num_live: Float[Tensor, " sequences *heads"]
    mean: Float[Tensor, " sequences *heads"]
    radial: Float[Tensor, " sequences *heads"]
    rest: Float[Tensor, " sequences *heads"]
    whole: Float[Tensor, " sequences *heads"]
    token_r_mean: Float[Tensor, " sequences *heads"]
    token_r_radial: Float[Tensor, " sequences *heads"]
    sigma: Float[Tensor, " sequences *heads"]
    sigma_square: Float[Tensor, " sequences *heads"]
    cosine: Float[Tensor, " sequences *heads surrogates"]
    square: Float[Tensor, " sequences *heads surrogates"]
    true_square: Float[Tensor, " sequences *heads"]

    @property
    def r_mean(self) -> Float[Tensor, "*heads"]:
        """The energy share of the mean part: a ratio of means over all tokens."""
        return self.mean.sum(dim=0) / self.whole.sum(dim=0)

    @property
    def r_radial(self) -> Float[Tensor, "*heads"]:
        """The energy share of the radial part: a ratio of means over all tokens."""
        return self.radial.sum(dim=0) / self.whole.sum(dim=0)

    @property
    def sigma_mean(self) -> Float[Tensor, "*heads"]:
        """The mean of sigma over tokens."""
        return self.sigma.sum(dim=0) / self.num_tokens.sum()

    @property
    def sigma_std(self) -> Float[Tensor, "*heads"]:
        """The standard deviation of sigma over tokens (divided by N, not N - 1)."""
        mean_square = self.sigma_square.sum(dim=0) / self.num_tokens.sum()
        return (mean_square - self.sigma_mean.square()).clamp(min=0).sqrt()

    @property
    def mean_cosine(self) -> Float[Tensor, "*heads surrogates"]:
        """The mean over live tokens of each surrogate's cosine with the true gradient."""
        return self.cosine.sum(dim=0) / self.num_live.sum(dim=0).unsqueeze(-1)

    @property
    def norm_ratio(self) -> Float[Tensor, "*heads surrogates"]:
        """The root mean square length of each surrogate over the true gradient's."""
        return (self.square.sum(dim=0) / self.true_square.sum(dim=0).unsqueeze(-1)).sqrt()


def sum_norm_energies(
    energies: NormEnergies, valid: Bool[Tensor, "sequences positions"]
) -> NormSums:
    """Add up a batch's tokens, sequence by sequence, with all surrogates.

    Args:
        energies: ``[sequences, positions]`` or ``[sequences, positions, heads]``.
        valid: Where there is a token; numbers elsewhere count nowhere, whatever they are.

    Returns:
        One number for each sequence (and head).
    """
    shape = valid.shape + (1,) * (energies.rest.ndim - 2)
    counted = valid.view(shape).expand_as(energies.rest)
    largest = torch.where(counted, energies.rest, 0.0).amax(dim=1, keepdim=True)
    live = counted & (energies.rest > _ROUNDING * largest)
    match = match_surrogates(energies)
    return NormSums(
        num_tokens=wide(valid.sum(dim=1).float()),
        num_live=wide(live.sum(dim=1).float()),
        mean=_sum(energies.mean, counted),
        radial=_sum(energies.radial, counted),
        rest=_sum(energies.rest, counted),
        whole=_sum(energies.whole, counted),
        token_r_mean=_sum(energies.r_mean, live),
        token_r_radial=_sum(energies.r_radial, live),
        sigma=_sum(energies.sigma, counted),
        sigma_square=_sum(energies.sigma, counted, square=True),
        cosine=_sum(match.cosine, live.unsqueeze(-1)),
        square=_sum(match.square, counted.unsqueeze(-1)),
        true_square=_sum(match.true_square, counted),
    )


def _sum(values: Tensor, where: Tensor, *, square: bool = False) -> Tensor:
    kept = wide(torch.where(where, values, 0.0))
    return (kept.square() if square else kept).sum(dim=1)
