"""The softmax of attention and its backward, with a sink if there is one.

With weights a = softmax(s) and g the gradient at the weights, the gradient at the scores is
``a (g - sum_j a_j g_j)``: the Jacobian ``diag(a) - a a'`` has trace ``1 - sum a^2``, which is near
zero where one weight takes all. softmax([2, 0, 0]) = [0.787, 0.107, 0.107] with a Jacobian of
spectral norm 0.251; softmax([10, 0, 0]) = [0.99991, 0.00005, 0.00005] with 0.00014.

A sink (gpt-oss) is one more column of the softmax whose weight is thrown away: a learned score for
each head, no value behind it. It takes part in the sum of the rows, not in the output.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def visible_softmax(
    scores: Float[Tensor, "heads queries keys"],
    visible: Bool[Tensor, "queries keys"],
    sinks: Float[Tensor, " heads"] | None = None,
) -> tuple[Float[Tensor, "heads queries keys"], Float[Tensor, "heads queries"]]:
    """Compute attention weights over the keys that each query sees.

    Args:
        scores: What enters the softmax: scaled and capped.
        visible: Which keys a query sees; one at least for every query.
        sinks: The score of each head's sink, None without.

    Returns:
        The weights (zero where a key is not seen), and the weight of the sink; they add up to one.
    """
    bias = torch.zeros_like(scores[0]).masked_fill_(~visible, -torch.inf)
    hidden = scores + bias
    weights = hidden.softmax(dim=-1)
    if sinks is None:
        return weights, torch.zeros_like(weights[..., 0])
    sunk = (sinks[:, None] - hidden.logsumexp(dim=-1)).sigmoid()
    return weights.mul_((1 - sunk).unsqueeze(-1)), sunk


def softmax_backward(
    weights: Float[Tensor, "*rows keys"], grad_weights: Float[Tensor, "*rows keys"]
) -> tuple[Float[Tensor, "*rows keys"], Float[Tensor, "*rows"]]:
    """Carry a gradient from attention weights to the scores.

    Args:
        weights: The weights of the keys; less than one in sum if a sink has the rest.
        grad_weights: The gradient at them.

    Returns:
        The gradient at the scores, and each row's ``sum_j a_j g_j``. With a sink of weight b, the
        gradient at the sink's score is -b times the latter, and the row adds up to zero with it.
    """
    average = torch.linalg.vecdot(weights, grad_weights)
    return weights * (grad_weights - average.unsqueeze(-1)), average


def jacobian_trace(
    weights: Float[Tensor, "*rows keys"], sink_weights: Float[Tensor, "*rows"]
) -> Float[Tensor, "*rows"]:
    """Compute 1 minus the sum of squared weights, a sink's among them.

    Args:
        weights: The weights of the keys.
        sink_weights: The weight of the sink; zero without.

    Returns:
        The trace of each row's Jacobian: 0 where one weight takes all, 1 - 1/n where all n are one.
    """
    return 1 - torch.linalg.vecdot(weights, weights) - sink_weights.square()


def softmax_jacobian(weights: Float[Tensor, " keys"]) -> Float[Tensor, "keys keys"]:
    """Write out ``diag(a) - a a'`` of one row.

    Args:
        weights: a, without a sink.

    Returns:
        The derivative of each weight by each score.
    """
    return weights.diag() - weights.outer(weights)
