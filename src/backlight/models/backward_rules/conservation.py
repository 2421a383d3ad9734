"""Relevance is conserved: gradient times activation adds up to one number in every layer."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from backlight.models.backward import rooted
from backlight.models.backward_rules.rule import unproven
from backlight.models.sites import Site, layer_of
from backlight.models.subject import Subject
from backlight.models.taps import tapping


def prove_conservation(subject: Subject, tokens: Tensor) -> None:
    """Check that no relevance is lost or made on the way back, but for what biases take.

    For a linear function of the model's output, the sum over tokens of gradient times activation
    at the output is that at the residual stream before any block, plus gradient times bias of each
    bias behind it.

    Args:
        subject: The model under the rule ``relp``.
        tokens: Some sequences.

    Raises:
        UnsupportedSiteError: If a layer's sum is another.
    """
    names = [f"layers.{layer}.resid.pre" for layer in range(subject.num_layers)]
    values: dict[str, Tensor] = {}
    edges: dict[str, GradientEdge] = {}
    biased: list[tuple[int | None, Tensor, GradientEdge]] = []

    def visit(site: Site, tensor: Tensor) -> Tensor:
        tensor = rooted(tensor)
        values[site.name], edges[site.name] = tensor.detach().clone(), get_gradient_edge(tensor)
        return tensor

    with ExitStack() as stack:
        stack.enter_context(tapping(subject, [subject.sites[name] for name in names], visit))
        for path, module in subject.model.named_modules():
            bias = getattr(module, "bias", None)
            if isinstance(bias, Tensor):
                hook = _noting(biased, layer_of(path), bias)
                stack.callback(module.register_forward_hook(hook).remove)
        stack.enter_context(torch.enable_grad())
        output = subject.forward(tokens)
    gradient = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).to(output)
    wanted = [*edges.values(), *(edge for _, _, edge in biased)]
    found = torch.autograd.grad(output, wanted, gradient, allow_unused=True)
    taken = [
        (layer, _sum(bias, grad))
        for (layer, bias, _), grad in zip(biased, found[len(edges) :], strict=True)
    ]
    total, tolerance = _sum(output.detach(), gradient), _tolerance(output.dtype)
    for layer, (name, grad) in enumerate(zip(edges, found, strict=False)):
        here = _sum(values[name], grad)
        behind = [each for place, each in taken if place is None or place >= layer]
        here += sum(behind)
        scale = _sum(values[name].abs(), grad.abs()) + sum(map(abs, behind))
        if not abs(here - total) <= tolerance * scale:
            what = f"gradient times activation at {name} is {here:.6g}, at the output {total:.6g}"
            raise unproven(subject.name, "relp", what)


def _noting(
    biased: list[tuple[int | None, Tensor, GradientEdge]], layer: int | None, bias: Tensor
) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        del module, inputs
        if isinstance(output, Tensor) and output.requires_grad:
            biased.append((layer, bias.detach(), get_gradient_edge(output)))

    return hook


def _sum(values: Tensor, gradient: Tensor | None) -> float:
    """Sum gradient times activation, or times bias; 0 where no gradient comes back."""
    if gradient is None:
        return 0.0
    return float((values.cpu().double() * gradient.cpu().double()).sum())


def _tolerance(dtype: torch.dtype) -> float:
    return max(16 * torch.finfo(dtype).eps, 1e-6 if dtype == torch.float64 else 1e-4)
