"""How far what a rule sends back points away from what backpropagation would have sent.

Two angles, both in degrees, on one batch and at the weights as they are:

- the *error angle* at a linear map, between ``B d`` and ``W^T d``: what the rule sends on, and what
  backpropagation would send on for the same error d behind the map (Lillicrap et al. 2016);
- the *gradient angle* of a weight matrix, between the rule's gradient and backpropagation's.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from backlight.labs.characters.backward import matrix_names, module_gradients
from backlight.labs.characters.learning import Batch
from backlight.learning_rules import LocalGPT
from backlight.learning_rules.linear import LinearFeedback


def angle(
    first: Float[Tensor, "*vectors width"], second: Float[Tensor, "*vectors width"]
) -> Float[Tensor, "*vectors"]:
    """Compute the angle between vectors in degrees, exactly also where it is small.

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
    maps = {
        path.removeprefix("transformer."): module
        for path, module in model.named_modules()
        if isinstance(module, LinearFeedback)
    }
    errors = module_gradients(model, rows, maps) if maps else {}
    angles = dict.fromkeys(matrix_names(model), torch.tensor(torch.nan, dtype=torch.float64))
    for name, (_, error) in errors.items():
        weight = maps[name].weight.detach()
        sent = functional.linear(error, maps[name].way_back(weight))
        angles[name] = angle(sent, functional.linear(error, weight.t())).nanmean().cpu()
    return torch.stack(list(angles.values()))
