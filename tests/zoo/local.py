"""A small network with everything that a rule may meet, and its gradients."""

from collections import OrderedDict

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

WIDTH = 6


class Checkpointed(nn.Module):
    """Recomputes what it holds in the backward pass."""

    def __init__(self, inner, *, use_reentrant):
        super().__init__()
        self.inner, self.use_reentrant = inner, use_reentrant

    def forward(self, x):
        return checkpoint(self.inner, x, use_reentrant=self.use_reentrant)


def small_network(dtype=torch.float64, wrap=lambda block: block):
    """Two residual-free blocks of norm, linear map and activation, between two linear maps."""
    torch.manual_seed(3)

    def block():
        inner = OrderedDict(
            norm=nn.LayerNorm(WIDTH),
            up=nn.Linear(WIDTH, 9),
            gelu=nn.GELU(),
            down=nn.Linear(9, WIDTH),
        )
        return nn.Sequential(inner)

    layers = OrderedDict(
        embed=nn.Linear(4, WIDTH),
        first=wrap(block()),
        second=wrap(block()),
        norm=nn.LayerNorm(WIDTH),
        head=nn.Linear(WIDTH, 5),
    )
    model = nn.Sequential(layers).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, dtype=torch.float32).to(dtype)
    return model


def small_input(dtype=torch.float64):
    return torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(5)).to(dtype)


def gradients(model, x=None, call=None):
    """Return the gradient of the loss for every parameter, by name without wrappers."""
    like = next(model.parameters())
    x = small_input(like.dtype) if x is None else x
    model.zero_grad()
    output = (call or model)(x)
    output.float().square().mean().backward()
    return {
        name.replace(".inner", ""): parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def differing(found, expected, tolerance=1e-12):
    """Name the gradients that are not the same."""
    assert found.keys() == expected.keys()
    return {
        name
        for name in expected
        if not torch.allclose(found[name], expected[name], rtol=tolerance, atol=tolerance)
    }
