"""The attention pattern of a call, computed densely, to hold a kernel against."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backlight.models.subject import AttentionCall


def pattern_of(call: AttentionCall) -> Float[Tensor, "batch heads queries keys"]:
    """Compute how much each query takes of each key's value.

    Args:
        call: What attends.

    Returns:
        The softmax of the scores, float64 and on the CPU; rows sum to 1, less with sinks.
    """
    query, key = (each.detach().cpu().double() for each in (call.query, call.key))
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = query @ key.mT * call.scale
    if call.cap is not None:
        scores = call.cap * torch.tanh(scores / call.cap)
    scores = scores.masked_fill(~_visible(call), float("-inf"))
    if call.sinks is None:
        return scores.softmax(dim=-1)
    sinks = call.sinks.detach().cpu().double().reshape(1, -1, 1, 1)
    with_sink = torch.cat([scores, sinks.expand(*scores.shape[:3], 1)], dim=-1)
    return with_sink.softmax(dim=-1)[..., :-1]


def _visible(call: AttentionCall) -> Bool[Tensor, "... queries keys"]:
    num_queries, num_keys = call.query.shape[2], call.key.shape[2]
    places = torch.arange(num_keys)
    distance = places[num_keys - num_queries :, None] - places
    seen = (distance >= 0) & (distance < (num_keys if call.window is None else call.window))
    if call.mask is None:
        return seen
    mask = call.mask.detach().cpu()
    return seen & (mask if mask.dtype == torch.bool else mask == 0)
