"""What is done to each token before it is encoded, and undone after decoding."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

Normalization = Literal["none", "layer_norm", "constant_norm"]
"""``layer_norm``: a token's mean is subtracted and it is divided by its standard deviation (plus
1e-5, which SAELens does not undo, so neither do we).
``constant_norm``: it is scaled to the norm ``sqrt(width)``."""

_LAYER_NORM_EPS = 1e-5


def shift_of(kind: Normalization, x: Float[Tensor, "*tokens width"]) -> Tensor | float:
    """Compute what is subtracted from each token: one number each, 0 for none."""
    return x.mean(dim=-1, keepdim=True) if kind == "layer_norm" else 0.0


def scale_of(kind: Normalization, x: Float[Tensor, "*tokens width"]) -> Tensor | float:
    """Compute what each token's reconstruction is multiplied by: one number each, 1 for none."""
    if kind == "layer_norm":
        return x.std(dim=-1, keepdim=True)
    if kind == "constant_norm":
        return x.norm(dim=-1, keepdim=True) / x.shape[-1] ** 0.5
    return 1.0


def normalized(
    kind: Normalization, x: Float[Tensor, "*tokens width"]
) -> Float[Tensor, "*tokens width"]:
    """Normalise each token as it is done before it is encoded."""
    if kind == "none":
        return x
    eps = _LAYER_NORM_EPS if kind == "layer_norm" else 0.0
    return (x - shift_of(kind, x)) / (scale_of(kind, x) + eps)
