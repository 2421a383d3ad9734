"""Fixed random matrices that an error goes back through in place of the weights."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

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
    """Give the standard deviation of a feedback matrix's entries.

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


def check_saved_matrix(found: Tensor | None, held: Tensor | None, *, path: str) -> None:
    """Refuse a checkpoint whose matrix of the way back is not of the shape that a rule needs.

    Args:
        found: The checkpoint's matrix; None if it has none, which is for ``strict`` to judge.
        held: The matrix that it is to replace.
        path: The module that holds it.

    Raises:
        ConfigError: If it is of another shape.
    """
    if found is not None and held is not None and found.shape != held.shape:
        raise ConfigError(
            f"The checkpoint's feedback matrix for {quoted(path)} is of shape "
            f"{tuple(found.shape)}; the "
            f"rule of this model needs {tuple(held.shape)}."
        )
