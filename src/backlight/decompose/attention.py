"""The backward pass of attention, in blocks of queries.

From q, k, v and the gradient dz at the heads' outputs ``z = a v``, ``a = softmax(s)``:
``dv = a' dz``, ``da = dz v'``, ``ds = a (da - sum a da)``, then through the soft cap
``s = c tanh(r / c)``, ``dr = ds (1 - (s / c)^2)``, and from ``r = scale q k'``
``dq = scale dr k``, ``dk = scale dr' q``. Weights are computed again from q and k, block by block,
and nothing of size queries x keys outlives its block: memory is O(heads x block x keys).
"""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from backlight.decompose.attention_blocks import AttentionRule, SequenceBackward
from backlight.decompose.attention_sums import AttentionSums
from backlight.decompose.precision import at_least_single, wide
from backlight.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionGradient:
    """Gradients inside attention; zero at pads.

    Attributes:
        q: The gradient at the queries.
        k: The gradient at the keys, added up over the query heads that share one.
        v: The gradient at the values, likewise.
        sinks: The gradient at the sinks' scores, summed over queries; zero without.
        sums: What happened on the way, for each sequence and head.
    """

    q: Float[Tensor, "batch heads positions head_width"]
    k: Float[Tensor, "batch key_heads keys head_width"]
    v: Float[Tensor, "batch key_heads keys value_width"]
    sinks: Float[Tensor, "batch heads"]
    sums: AttentionSums


def attention_backward(
    q: Float[Tensor, "batch heads positions head_width"],
    k: Float[Tensor, "batch key_heads keys head_width"],
    v: Float[Tensor, "batch key_heads keys value_width"],
    grad_z: Float[Tensor, "batch heads positions value_width"],
    rule: AttentionRule,
    *,
    lengths: Int[Tensor, " batch"] | None = None,
    block_size: int = 64,
) -> AttentionGradient:
    """Carry the gradient at the heads' outputs to queries, keys and values, and measure its way.

    Query head h reads key head ``h // (heads / key_heads)``. Sequences are taken one by one, each
    cut to its length, so that pads are never seen.

    >>> random = torch.Generator().manual_seed(0)
    >>> q, k, v, upstream = torch.randn(4, 1, 2, 5, 8, generator=random)  # two heads, five tokens
    >>> found = attention_backward(q, k, v, upstream, AttentionRule(scale=8**-0.5))
    >>> above, below = found.sums.fractions()["largest"]
    >>> (above.sum(0) / below.sum(0)).tolist()  # each head's mean largest weight
    [0.64..., 0.63...]

    Args:
        q: Queries, after rotary.
        k: Keys, likewise, before they are repeated for the heads that share them.
        v: Values, likewise.
        grad_z: The gradient at ``softmax(scores) v``, before the output projection.
        rule: How scores and weights come from them.
        lengths: How many queries each sequence has, padded on the right, each with as many keys
            and those of the offset before them; without, no query and no key is a pad.
        block_size: How many queries to hold scores of at a time.

    Returns:
        The gradients, in float32 where the input is in half precision, and their statistics.

    Raises:
        ConfigError: Heads that do not share keys evenly, or no block.
    """
    _refuse(q.shape[1], k.shape[1], block_size)
    q, k, v, grad_z = (at_least_single(tensor.detach()) for tensor in (q, k, v, grad_z))
    ends = _ends(q, k, lengths, rule.visibility.offset)
    sinks = None if rule.sinks is None else rule.sinks.detach().to(q.dtype)
    rule = replace(rule, sinks=sinks)
    grad_q, grad_k, grad_v = (torch.zeros_like(tensor) for tensor in (q, k, v))
    grad_sinks = wide(q.new_zeros(q.shape[:2]))
    sums = AttentionSums.nothing(*q.shape[:2], device=q.device)
    for index, (count, num_keys) in enumerate(ends):
        own, seen = slice(count), slice(num_keys)
        part = SequenceBackward(
            rule,
            q=q[index, :, own],
            k=k[index, :, seen],
            v=v[index, :, seen],
            grad_z=grad_z[index, :, own],
            sums={field.name: getattr(sums, field.name)[index] for field in fields(sums)},
        )
        for start in range(0, count, block_size):
            part.take(start, min(start + block_size, count))
        part.close()
        grad_q[index, :, own] = part.grad_q
        grad_k[index, :, seen] = _shared(part.grad_k, k.shape[1])
        grad_v[index, :, seen] = _shared(part.grad_v, k.shape[1])
        grad_sinks[index] = part.grad_sinks
    return AttentionGradient(q=grad_q, k=grad_k, v=grad_v, sinks=grad_sinks, sums=sums)


def _ends(q: Tensor, k: Tensor, lengths: Tensor | None, offset: int) -> list[tuple[int, int]]:
    """Return where the queries and the keys of each sequence end."""
    if lengths is None:
        return [(q.shape[2], k.shape[2])] * len(q)
    return [(int(length), int(length) + offset) for length in lengths]


def _shared(by_head: Tensor, num_key_heads: int) -> Tensor:
    """Add up what the heads that share a key sent to it."""
    return by_head.unflatten(0, (num_key_heads, -1)).sum(dim=1)


def _refuse(num_heads: int, num_key_heads: int, block_size: int) -> None:
    if num_heads % num_key_heads:
        raise ConfigError(f"{num_heads} heads cannot share {num_key_heads} key heads evenly.")
    if block_size < 1:
        raise ConfigError(f"A block of {block_size} queries holds none; take 1 at least.")
