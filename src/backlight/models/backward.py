"""Backward passes that fail, and gradients that cannot be taken, explained in a sentence."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

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


def without_gradient(name: str) -> str:
    """Explain that what passes at a site passes where gradients are switched off."""
    return (
        f"{name} passes with gradients switched off (torch.no_grad, inference_mode, or checkpoint "
        "with use_reentrant=True), so no gradient reaches it. Use use_reentrant=False."
    )
