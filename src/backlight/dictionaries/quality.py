"""How well a dictionary reconstructs what it was given, and how sparsely."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backlight.dictionaries.codes import Codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good a dictionary is on some tokens.

    The first token of a sequence is told apart: in many models its norm is so large that it alone
    makes up most of the variance, and a dictionary that knows nothing else looks excellent.

    Attributes:
        explained_variance: ``1 - sum |x - reconstruction|^2 / sum |x - mean x|^2`` over tokens that
            are not the first of their sequence; NaN if these do not vary. Below zero, the mean
            would be a better reconstruction.
        explained_variance_with_first: The same over all tokens.
        l0: Features that fire at a token, on average; first tokens left out.
        dead_share: Share of the features that fired at none of these tokens.
        num_tokens: How many tokens were seen, first tokens left out.
    """

    explained_variance: float
    explained_variance_with_first: float
    l0: float
    dead_share: float
    num_tokens: int


@final
class Reconstruction:
    """Quality, gathered block by block; the blocks may be of any size.

    Sums are float64 and taken around a running mean, so that a large mean costs no digits.
    """

    def __init__(self) -> None:
        self._rest = self._first = _NOTHING
        self._num_entries = 0
        self._fired = torch.zeros(0, dtype=torch.bool)

    def update(
        self,
        target: Float[Tensor, "tokens width"],
        reconstruction: Float[Tensor, "tokens width"],
        codes: Codes,
        *,
        first: Bool[Tensor, " tokens"],
    ) -> None:
        """Take in some tokens.

        Args:
            target: What was to be reconstructed.
            reconstruction: What came out.
            codes: The features it was made of.
            first: Which tokens are the first of their sequence.
        """
        target = target.detach().to("cpu", torch.float64)
        error = target - reconstruction.detach().to("cpu", torch.float64)
        away = first.cpu()
        self._rest = self._rest.joined(_Spread.of(target[~away], error[~away]))
        self._first = self._first.joined(_Spread.of(target[away], error[away]))
        features = codes.features[~first[codes.tokens]].cpu()
        self._note(torch.bincount(features, minlength=codes.num_features) > 0, len(features))

    def merge(self, other: "Reconstruction") -> None:
        """Take in what another accumulator of the same dictionary has seen.

        Args:
            other: It; unchanged.
        """
        self._rest = self._rest.joined(other._rest)
        self._first = self._first.joined(other._first)
        self._note(other._fired, other._num_entries)

    def result(self) -> Quality:
        """Compute the quality over all tokens so far; NaN where there were none."""
        num_tokens = self._rest.num_tokens
        return Quality(
            explained_variance=self._rest.explained(),
            explained_variance_with_first=self._rest.joined(self._first).explained(),
            l0=self._num_entries / num_tokens if num_tokens else float("nan"),
            dead_share=1.0 - self._fired.double().mean().item(),
            num_tokens=num_tokens,
        )

    def _note(self, fired: Bool[Tensor, " features"], num_entries: int) -> None:
        self._num_entries += num_entries
        if len(fired):  # nothing was seen before, or by the other
            self._fired = self._fired | fired if len(self._fired) else fired


@dataclass(frozen=True, slots=True)
class _Spread:
    """The mean of some tokens, their squared distances from it, and the squared errors at them."""

    num_tokens: int
    mean: Float[Tensor, "..."]
    around_mean: float
    error: float

    @staticmethod
    def of(
        target: Float[Tensor, "tokens width"], error: Float[Tensor, "tokens width"]
    ) -> "_Spread":
        if not len(target):
            return _NOTHING
        mean = target.mean(dim=0)
        around_mean = (target - mean).square().sum().item()
        return _Spread(len(target), mean, around_mean, error.square().sum().item())

    def joined(self, other: "_Spread") -> "_Spread":
        """Chan, Golub and LeVeque (1983): the spread of both parts together."""
        # Squares around the joint mean are those around each part's own, and what its mean is away
        # from it: no difference of two large sums is ever taken.
        num_tokens = self.num_tokens + other.num_tokens
        if not self.num_tokens or not other.num_tokens:
            return other if other.num_tokens else self
        apart = other.mean - self.mean
        share = other.num_tokens / num_tokens
        between = share * self.num_tokens * apart.square().sum().item()
        return _Spread(
            num_tokens,
            self.mean + share * apart,
            self.around_mean + other.around_mean + between,
            self.error + other.error,
        )

    def explained(self) -> float:
        return 1.0 - self.error / self.around_mean if self.around_mean else float("nan")


_NOTHING = _Spread(0, torch.zeros((), dtype=torch.float64), 0.0, 0.0)
