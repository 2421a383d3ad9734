"""What one forward and one backward left at the sites that were asked for."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from backlight.data.batches import Batch

__all__ = ["Tape"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """Activations and gradients of one batch, by the names of the sites.

    Attributes:
        batch: The tokens.
        activations: ``[batch, positions, width]`` at each site; empty if they were not asked for.
        gradients: The gradient of the reduced loss at each site, in nats per unit of activation,
            same shape; empty if it was not asked for. Pads are exactly zero.
        nats: The cross-entropy of each sequence, summed over its predicted tokens, float64; None
            if only activations were asked for.
    """

    batch: Batch
    activations: Mapping[str, Float[Tensor, "batch positions width"]]
    gradients: Mapping[str, Float[Tensor, "batch positions width"]]
    nats: Float[Tensor, " batch"] | None
