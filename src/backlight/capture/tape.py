"""What one forward and one backward left at the sites that were asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.data.batches import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What setting a site's tensor to zero does to the objective of each passage of a batch.

    All are the objective afterwards less that before, sequence by sequence, float64, on the CPU.

    Attributes:
        first_order: As the gradient at the site predicts it.
        path: As the gradients along the way there add up.
        true: As it is.
    """

    first_order: Float[Tensor, " batch"]
    path: Float[Tensor, " batch"]
    true: Float[Tensor, " batch"]

    @property
    def numbers(self) -> Float[Tensor, "batch 3"]:
        """All of it side by side."""
        return torch.stack([self.first_order, self.path, self.true], dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curvature:
    """An estimate of the diagonal of the objective's Hessian at a site, from random probes.

    Attributes:
        diagonal: For each token and dimension, averaged over the probes; pads are exactly zero.
        by_probe: What each probe found, summed over the tokens of each passage, float64: how much
            these differ says how much of the estimate is chance.
    """

    diagonal: Float[Tensor, "batch positions width"]
    by_probe: Float[Tensor, "probes batch width"]


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
        changes: What setting each site to zero does, by the sites' names; empty unless gradients
            are averages along the way there (``record_path``).
        norms: Each token's L2 norm at other sites, of which no more is kept; what stands at pads
            means nothing.
        curvatures: The diagonal of the objective's Hessian at each site, by the sites' names; empty
            if it was not asked for (``record_curvature``).
    """

    batch: Batch
    activations: Mapping[str, Float[Tensor, "batch positions width"]]
    gradients: Mapping[str, Float[Tensor, "batch positions width"]]
    nats: Float[Tensor, " batch"] | None
    value: Float[Tensor, " batch"] | None
    norms: Mapping[str, Float[Tensor, "batch positions"]] = field(default_factory=dict[str, Tensor])
    changes: Mapping[str, Change] = field(default_factory=dict[str, Change])
    curvatures: Mapping[str, Curvature] = field(default_factory=dict[str, Curvature])
