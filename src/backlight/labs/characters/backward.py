"""What goes back through a network on one batch: at weights, and at modules.

Nothing is left behind: no ``.grad``, no change of weights or of random states.
"""

from collections.abc import Mapping
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from backlight.labs.characters.learning import Batch
from backlight.learning_rules import LocalGPT


def matrix_names(model: LocalGPT) -> list[str]:
    """List a network's weight matrices, in the order of the forward pass."""
    return [
        name.removeprefix("transformer.").removesuffix(".weight")
        for name, parameter in model.named_parameters()
        if parameter.dim() > 1
    ]


def matrix_gradients(
    model: LocalGPT, rows: Batch, weights: Mapping[str, Tensor] | None = None
) -> list[Float[Tensor, "outputs inputs"]]:
    """Compute the loss's gradient at every weight matrix, by the network's own rule.

    Args:
        model: The network.
        rows: What is read, and what comes next.
        weights: Parameters of another network of the same shape, which take the place of its own.

    Returns:
        In the order of ``matrix_names``.
    """
    held = dict(model.named_parameters()) if weights is None else weights
    matrices = [parameter for parameter in held.values() if parameter.dim() > 1]
    _, loss = functional_call(model, dict(held), rows)
    return list(torch.autograd.grad(loss, matrices))


def module_gradients(
    model: LocalGPT, rows: Batch, modules: Mapping[str, nn.Module]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Pass a batch, and compute what modules read and the loss's gradient at what they write.

    Args:
        model: The network.
        rows: What is read, and what comes next.
        modules: Some of its modules, by name.

    Returns:
        The input and the gradient at the output of each, by name.
    """
    passed: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str, _: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        passed[name] = inputs[0].detach(), output

    handles = [
        module.register_forward_hook(partial(keep, name)) for name, module in modules.items()
    ]
    try:
        _, loss = model(*rows)
    finally:
        for handle in handles:
            handle.remove()
    gradients = torch.autograd.grad(loss, [output for _, output in passed.values()])
    return {
        name: (read, gradient)
        for (name, (read, _)), gradient in zip(passed.items(), gradients, strict=True)
    }
