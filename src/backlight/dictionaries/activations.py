"""From pre-activations to features: the activation functions that dictionaries are trained with."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor


class Activation(ABC):
    """A function of one token's pre-activations, all features together."""

    @abstractmethod
    def __call__(self, pre: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens features"]:
        """Compute the features of each token.

        Args:
            pre: The encoder's product with the input, its bias added.

        Returns:
            The features, mostly zeros.
        """


@final
@dataclass(frozen=True, slots=True)
class Relu(Activation):
    """Positive pre-activations as they are, others zero."""

    def __call__(self, pre: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens features"]:
        """See ``Activation``."""
        return pre.relu()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TopK(Activation):
    """The k largest pre-activations of each token (Gao et al. 2024, arXiv 2406.04093).

    Attributes:
        k: How many.
        by_size: Largest in absolute value, signs kept (SAELens' ``abstopk``); otherwise the
            largest, of which negative ones become zero.
        keeps_negative: The largest are kept as they are, even below zero (Qwen Scope).
    """

    k: int
    by_size: bool = False
    keeps_negative: bool = False

    def __call__(self, pre: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens features"]:
        """See ``Activation``."""
        ranked = pre.abs() if self.by_size else pre
        chosen = ranked.topk(min(self.k, pre.shape[1]), dim=1, sorted=False).indices
        values = pre.gather(1, chosen)
        if not self.by_size and not self.keeps_negative:
            values = values.relu()
        return torch.zeros_like(pre).scatter_(1, chosen, values)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold(Activation):
    """Positive pre-activations above a threshold (JumpReLU, and BatchTopK at inference).

    Rajamanoharan et al. 2024 (arXiv 2407.14435); Bussmann et al. 2024 (arXiv 2412.06410).

    Attributes:
        threshold: One for each feature; a value at the threshold does not fire.
    """

    threshold: Float[Tensor, " features"]

    def __call__(self, pre: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens features"]:
        """See ``Activation``."""
        return torch.where(pre > self.threshold, pre, 0.0).relu_()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Gated(Activation):
    """A gate says whether a feature fires, a magnitude how strongly.

    Rajamanoharan et al. 2024 (arXiv 2404.16014). Both are affine in the same product ``p`` of
    encoder and input: the gate is ``p + gate_bias > 0``, the magnitude
    ``relu(p * magnitude_scale + magnitude_bias)``.

    Attributes:
        gate_bias: Added before the gate.
        magnitude_scale: Multiplies the product in the magnitude (``exp(r_mag)``).
        magnitude_bias: Added to the magnitude.
    """

    gate_bias: Float[Tensor, " features"]
    magnitude_scale: Float[Tensor, " features"]
    magnitude_bias: Float[Tensor, " features"]

    def __call__(self, pre: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens features"]:
        """See ``Activation``."""
        magnitude = torch.addcmul(self.magnitude_bias, pre, self.magnitude_scale).relu_()
        return magnitude.masked_fill_(pre + self.gate_bias <= 0, 0.0)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMax(Activation):
    """The largest positive pre-activation of each of k equal groups of features (sparsify).

    Attributes:
        k: How many groups.
    """

    k: int

    def __call__(self, pre: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens features"]:
        """See ``Activation``."""
        groups = pre.relu().unflatten(1, (self.k, -1))
        largest, chosen = groups.max(dim=2, keepdim=True)
        return torch.zeros_like(groups).scatter_(2, chosen, largest).flatten(1)
