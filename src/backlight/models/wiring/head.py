"""The language-model head as numbers: from the last hidden state to the logits."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Logits ``y = c tanh(a (W h + b) / c)``, or ``a (W h + b)`` where there is no cap.

    Attributes:
        weight: W, one row per token of the vocabulary.
        bias: b, or None.
        scale: a: what the model multiplies its logits by (the inverse of what it divides by).
        cap: c, the soft cap of the logits, or None.
    """

    weight: Float[Tensor, "vocabulary width"]
    bias: Float[Tensor, " vocabulary"] | None = None
    scale: float = 1.0
    cap: float | None = None

    def logits(self, hidden: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens vocabulary"]:
        """Compute the logits of some tokens, in the weight's number format."""
        logits = torch.nn.functional.linear(hidden, self.weight, self.bias)
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.cap is not None:
            logits = self.cap * torch.tanh(logits / self.cap)
        return logits
