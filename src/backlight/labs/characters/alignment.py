"""How far what a rule sends back points away from what backpropagation would have sent.

Two angles, both in degrees, on one batch and at the weights as they are:

- the *error angle* at a linear map, between ``B d`` and ``W^T d``: what the rule sends on, and what
  backpropagation would send on for the same error d behind the map (Lillicrap et al. 2016);
- the *gradient angle* of a weight matrix, between the rule's gradient and backpropagation's.

Nothing is left behind: no ``.grad``, no change of weights or of random states.
"""

import functools
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from backlight.labs.characters.learning import Batch
from backlight.learning_rules import LocalGPT
from backlight.learning_rules.linear import LinearFeedback


def angle(
    first: Float[Tensor, "*vectors width"], second: Float[Tensor, "*vectors width"]
) -> Float[Tensor, "*vectors"]:
    """Give the angle between vectors in degrees, exactly also where it is small.

    Args:
        first: Vectors along the last axis.
        second: As many.

    Returns:
        From 0 to 180; NaN where one of the two is zero.
    """
    a, b = (functional.normalize(vectors.double(), dim=-1) for vectors in (first, second))
    half = torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))
    known = (a.square().sum(-1) > 0) & (b.square().sum(-1) > 0)
    return torch.where(known, torch.rad2deg(2 * half), torch.nan)


def matrix_names(model: LocalGPT) -> list[str]:
    """Name a network's weight matrices, in the order of the forward pass."""
    return [
        name.removeprefix("transformer.").removesuffix(".weight")
        for name, parameter in model.named_parameters()
        if parameter.dim() > 1
    ]


def matrix_gradients(
    model: LocalGPT, rows: Batch, weights: Mapping[str, Tensor] | None = None
) -> list[Float[Tensor, "outputs inputs"]]:
    """Give the loss's gradient at every weight matrix, by the network's own rule.

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


def gradient_angles(first: list[Tensor], second: list[Tensor]) -> Float[Tensor, " matrices"]:
    """Compare gradients of two rules, matrix by matrix.

    Args:
        first: What ``matrix_gradients`` gave.
        second: The same for the same weights and rows, by another rule.

    Returns:
        The angle between the two, each matrix taken as one vector.
    """
    pairs = zip(first, second, strict=True)
    return torch.stack([angle(one.flatten(), other.flatten()) for one, other in pairs])


def error_angles(model: LocalGPT, rows: Batch) -> Float[Tensor, " matrices"]:
    """Compare, at each linear map, what goes on with what backpropagation would send on.

    Args:
        model: The network, under its rule.
        rows: What is read, and what comes next.

    Returns:
        The mean angle over tokens, in the order of ``matrix_names``; NaN at a matrix that is in no
        linear map of a rule, as embeddings, and everywhere under other rules.
    """
    found: dict[str, Tensor] = {}
    maps = {
        path: module for path, module in model.named_modules() if isinstance(module, LinearFeedback)
    }

    def compare(module: LinearFeedback, path: str, error: Tensor) -> None:
        weight = module.weight.detach()
        sent = functional.linear(error, module.way_back(weight))
        angles = angle(sent, functional.linear(error, weight.t()))
        found[path.removeprefix("transformer.")] = angles.nanmean()

    def attend(path: str, module: LinearFeedback, inputs: object, output: Tensor) -> None:
        del inputs
        output.register_hook(functools.partial(compare, module, path))

    handles = [
        module.register_forward_hook(functools.partial(attend, path))
        for path, module in maps.items()
    ]
    try:
        matrix_gradients(model, rows)
    finally:
        for handle in handles:
            handle.remove()
    unknown = torch.tensor(torch.nan, dtype=torch.float64)
    return torch.stack([found.get(name, unknown).cpu() for name in matrix_names(model)])
