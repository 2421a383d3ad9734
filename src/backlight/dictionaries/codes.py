"""Sparse codes: which features fire at which tokens, and how strongly."""

from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """The features that are not zero, token by token.

    Attributes:
        tokens: The token of each entry, in ascending order.
        features: Its feature, in ascending order within a token.
        values: The feature's value, never zero.
        num_tokens: How many tokens were encoded.
        num_features: How many features there are.
    """

    tokens: Int[Tensor, " entries"]
    features: Int[Tensor, " entries"]
    values: Float[Tensor, " entries"]
    num_tokens: int
    num_features: int

    @staticmethod
    def of(dense: Float[Tensor, "tokens features"]) -> "Codes":
        """Keep what is not zero."""
        return Codes.where(dense != 0, dense)

    @staticmethod
    def where(
        fires: Bool[Tensor, "tokens features"], dense: Float[Tensor, "tokens features"]
    ) -> "Codes":
        """Keep the values of what fires."""
        tokens, features = fires.nonzero(as_tuple=True)
        return Codes(
            tokens=tokens,
            features=features,
            values=dense[tokens, features],
            num_tokens=dense.shape[0],
            num_features=dense.shape[1],
        )

    def dense(self) -> Float[Tensor, "tokens features"]:
        """Write out the zeros."""
        dense = self.values.new_zeros(self.num_tokens, self.num_features)
        dense[self.tokens, self.features] = self.values
        return dense

    def times(self, rows: Float[Tensor, "features width"]) -> Float[Tensor, "tokens width"]:
        """Sum each token's rows, weighted by its values: the product with a dense matrix."""
        starts = torch.searchsorted(
            self.tokens, torch.arange(self.num_tokens, device=self.tokens.device)
        )
        return torch.nn.functional.embedding_bag(
            self.features, rows, starts, mode="sum", per_sample_weights=self.values
        )

    def transposed(self) -> "Codes":
        """Exchange tokens and features, in the order that ``times`` needs."""
        order = self.features.argsort(stable=True)
        return Codes(
            tokens=self.features[order],
            features=self.tokens[order],
            values=self.values[order],
            num_tokens=self.num_features,
            num_features=self.num_tokens,
        )

    def counts(self) -> Int[Tensor, " features"]:
        """Count the tokens at which each feature fires."""
        return torch.bincount(self.features, minlength=self.num_features)


def concatenate(parts: list[Codes]) -> Codes:
    """Put codes of consecutive tokens together.

    Args:
        parts: At least one, all of the same features.

    Returns:
        The codes of all tokens.
    """
    ends = list(accumulate(part.num_tokens for part in parts))
    starts = [0, *ends[:-1]]
    return Codes(
        tokens=torch.cat([part.tokens + start for part, start in zip(parts, starts, strict=True)]),
        features=torch.cat([part.features for part in parts]),
        values=torch.cat([part.values for part in parts]),
        num_tokens=ends[-1],
        num_features=parts[0].num_features,
    )
