"""What is measured of dictionary features, and how the dictionary enters the model."""

from dataclasses import dataclass
from typing import Literal

from backlight.objectives.objective import Reduction
from backlight.stats.aggregate import Mode
from backlight.surveys.driver.options.shared import Quantity

Splice = Literal["replace", "error"]
"""``replace``: the reconstruction takes the activation's place, at one layer at a time. ``error``:
reconstruction plus its detached error, so that the forward pass is unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePlan:
    """What is to be measured of the features.

    Attributes:
        splice: How the dictionary enters the model.
        quantity: What is looked at.
        active_only: Average over the tokens where a feature fires, not over all.
        absolute: The mean of absolute values is wanted, which takes a product of all tokens with
            all features.
        stride: Every so many tokens of a passage are looked at, from its first.
        reduction: How tokens and sequences are weighed in the loss.
        num_nodes: At how many points of each site's path gradients are averaged; None to take them
            where the model is.
        warns: Tokens are encoded for the warning index, if for nothing else.
        no_warning: Why there is no warning index; empty if there is one.
        grouped: Of what sums over groups of passages are kept, for comparisons.
        records: Tokens are encoded to record how often features fire, if for nothing else.
        no_text: The tokens that are no text, by their ids: of beginnings, ends and padding.
    """

    splice: Splice
    quantity: Quantity = "gradients"
    active_only: bool = False
    absolute: bool = True
    stride: int = 1
    reduction: Reduction = "sequence_mean"
    num_nodes: int | None = None
    warns: bool = False
    no_warning: str = ""
    grouped: tuple[Mode, ...] = ()
    records: bool = False
    no_text: tuple[int, ...] = ()

    @property
    def is_dense(self) -> bool:
        """Every feature counts at every token, whether it fires or not."""
        return self.quantity == "gradients" and not self.active_only

    @property
    def encodes(self) -> bool:
        """All tokens are encoded, so what fires is known over the whole corpus."""
        return self.splice == "replace" or not self.is_dense or self.warns or self.records
