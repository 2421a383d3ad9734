"""Where backward passes begin and end, and why one failed, explained in a sentence."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor

from backlight.errors import ModelError


@contextmanager
def explaining(name: str) -> Generator[None, None, None]:
    """Explain why a backward pass inside the context failed; a lack of memory explains itself.

    Args:
        name: What messages call the model.

    Yields:
        Nothing.

    Raises:
        ModelError: If autograd fails.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if "use_reentrant" in str(error):
            raise ModelError(
                f"{name} uses checkpoint with use_reentrant=True, through which gradients of "
                "activations cannot be taken. Use use_reentrant=False; the numbers are the same."
            ) from error
        reason = str(error).strip().splitlines()[0][:200]
        raise ModelError(f"The backward pass through {name} failed: {reason}") from error


def rooted(tensor: Tensor) -> Tensor:
    """Let a graph begin at a tensor to which none leads.

    Args:
        tensor: What passes somewhere.

    Returns:
        The tensor itself if a graph leads to it; else its copy, which may be written to in place,
        unlike the leaf below it.
    """
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_().clone()


def random_start(output: Tensor) -> Tensor:
    """Draw a gradient of all that comes out of a model, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output)


def without_gradient(name: str) -> str:
    """Explain that what passes at a site passes where gradients are switched off."""
    return (
        f"{name} passes with gradients switched off (torch.no_grad, inference_mode, or checkpoint "
        "with use_reentrant=True), so no gradient reaches it. Use use_reentrant=False."
    )
