"""What one forward and one backward left at the sites that were asked for."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from backlight.data.batches import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """Activations and gradients of one batch, by the names of the sites.

    Attributes:
        batch: The tokens.
        activations: ``[batch, positions, width]`` at each site; empty if they were not asked for.
        gradients: The gradient of the objective at each site, in its unit per unit of activation
            (nats for a loss), same shape; empty if it was not asked for. Pads are exactly zero.
        nats: The cross-entropy of each sequence, summed over its predicted tokens, float64; None
            if only activations were asked for.
        value: What was differentiated, sequence by sequence, float64; None as above.
    """

    batch: Batch
    activations: Mapping[str, Float[Tensor, "batch positions width"]]
    gradients: Mapping[str, Float[Tensor, "batch positions width"]]
    nats: Float[Tensor, " batch"] | None
    value: Float[Tensor, " batch"] | None
