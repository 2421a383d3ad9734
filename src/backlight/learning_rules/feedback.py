"""Fixed random matrices that an error goes back through in place of the weights."""

from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backlight.errors import ConfigError, quoted

Scale = Literal["forward", "xavier", "kaiming"]
SCALES: tuple[Scale, ...] = get_args(Scale)


def draw_feedback(
    weight: Float[Tensor, "outputs inputs"], *, scale: Scale, generator: torch.Generator | None
) -> Float[Tensor, "inputs outputs"]:
    """Draw a matrix of the shape of the transposed weights.

    It is drawn on the CPU in float32, so a seed gives the same matrix on every device and in every
    number format.

    Args:
        weight: The weights of the way forward.
        scale: ``forward``: normal, with the standard deviation of the weights as they are;
            ``xavier`` and ``kaiming``: uniform, as ``torch.nn.init`` would fill this matrix.
        generator: Where randomness comes from; None for PyTorch's own.

    Returns:
        The matrix, beside the weights.
    """
    shape = (weight.shape[1], weight.shape[0])
    if scale == "forward":
        drawn = torch.randn(shape, generator=generator, dtype=torch.float32)
    else:
        drawn = (2 * torch.rand(shape, generator=generator, dtype=torch.float32) - 1) * 3**0.5
    return drawn.to(weight) * spread(weight, scale=scale)


def spread(weight: Float[Tensor, "outputs inputs"], *, scale: Scale) -> float:
    """Compute the standard deviation of a feedback matrix's entries.

    Args:
        weight: The weights of the way forward.
        scale: As for ``draw_feedback``.

    Returns:
        The standard deviation; 0 if the scale is the weights' and they are all the same.
    """
    num_outputs, num_inputs = weight.shape
    match scale:
        case "forward":
            return float(weight.detach().to("cpu", torch.float64).std(correction=0))
        case "xavier":
            return (2 / (num_inputs + num_outputs)) ** 0.5
        case "kaiming":
            return (2 / num_outputs) ** 0.5


class MatrixHolder(nn.Module):
    """A role with a matrix of the way back, a buffer that is saved, loaded and moved."""

    matrix_name: ClassVar[str]

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any, **named: Any
    ) -> None:
        """Refuse a checkpoint whose matrix has not the shape that the rule needs."""
        found: Tensor | None = state_dict.get(f"{prefix}{self.matrix_name}")
        held: Tensor | None = getattr(self, self.matrix_name)
        if found is not None and held is None:  # nothing ran yet: its shape is taken as it is
            held = found.to(next(self.parameters(), found), copy=True)
            setattr(self, self.matrix_name, held)
        elif found is not None and held is not None and found.shape != held.shape:
            raise ConfigError(
                f"The checkpoint's feedback matrix for {quoted(prefix.rstrip('.'))} is of shape "
                f"{tuple(found.shape)}; the rule of this model needs {tuple(held.shape)}."
            )
        super()._load_from_state_dict(state_dict, prefix, *rest, **named)
