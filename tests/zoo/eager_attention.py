"""Attention written out in full, with the mask as a matrix: the oracle of the tests."""

from types import SimpleNamespace

import torch


def mask_matrix(num_queries, num_keys, *, causal=True, window=None, offset=0):
    rows = [
        [
            (not causal or key <= query + offset)
            and (window is None or abs(query + offset - key) < window)
            for key in range(num_keys)
        ]
        for query in range(num_queries)
    ]
    return torch.tensor(rows)


def draw(batch=2, heads=4, key_heads=2, queries=7, keys=7, width=5, value_width=3, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return SimpleNamespace(
        q=normal(batch, heads, queries, width),
        k=normal(batch, key_heads, keys, width),
        v=normal(batch, key_heads, keys, value_width),
        grad_z=normal(batch, heads, queries, value_width),
        sinks=normal(heads),
    )


def backward(given, mask, *, scale, soft_cap=None, sinks=None):
    """Carry grad_z back by autograd through ``[batch, heads, queries, keys]``."""
    leaves = {name: getattr(given, name).clone().requires_grad_() for name in ("q", "k", "v")}
    repeats = given.q.shape[1] // given.k.shape[1]
    keys = leaves["k"].repeat_interleave(repeats, dim=1)
    values = leaves["v"].repeat_interleave(repeats, dim=1)
    scores = leaves["q"] @ keys.mT * scale
    if soft_cap is not None:
        scores = soft_cap * torch.tanh(scores / soft_cap)
    scores = scores.masked_fill(~mask, -torch.inf)
    if sinks is not None:
        sinks = sinks.clone().requires_grad_()
        column = sinks.view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
        scores = torch.cat([scores, column], dim=-1)
    scores.retain_grad()
    rows = scores.softmax(dim=-1)
    weights = rows[..., : keys.shape[2]]
    weights.retain_grad()
    keys.retain_grad()
    values.retain_grad()
    (weights @ values).backward(given.grad_z)
    return SimpleNamespace(
        q=leaves["q"].grad,
        k=leaves["k"].grad,
        v=leaves["v"].grad,
        keys=keys.grad,
        values=values.grad,
        scores=scores.grad,
        grad_weights=weights.grad.masked_fill(~mask, 0.0),
        rows=rows.detach(),
        sinks=None if sinks is None else sinks.grad,
    )


def mean_of(sums, name):
    """Divide one of the fractions of all sequences together, head by head."""
    above, below = sums.fractions()[name]
    return above.sum(0) / below.sum(0)
