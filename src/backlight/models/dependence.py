"""What becomes of the parts of what modules give: are they used, are they written into."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from backlight.models.outputs import Member, member_of, with_member


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of a tensor after a module has given it away.

    Attributes:
        used: The logits depend on it.
        written: It is written into in place.
    """

    used: bool
    written: bool


def fates_of(
    logits: Callable[[Tensor], Tensor],
    tokens: Tensor,
    modules: Mapping[nn.Module, Sequence[Member]],
) -> dict[nn.Module, dict[Member, Fate]]:
    """Go back from the logits once, as a measurement does, and see where a gradient arrives.

    Args:
        logits: From token ids to logits; the model's parameters are frozen.
        tokens: Some tokens.
        modules: The parts of each module's output that are looked at.

    Returns:
        What becomes of each part; a module that passes where gradients are switched off is missing.
    """
    edges: dict[tuple[nn.Module, Member], GradientEdge] = {}
    passed: dict[tuple[nn.Module, Member], tuple[Tensor, int]] = {}
    going_back = False

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        del inputs
        for member in modules[module] if torch.is_grad_enabled() else ():
            tensor = member_of(output, member)
            assert isinstance(tensor, Tensor)
            if not tensor.requires_grad:
                tensor = tensor.detach().requires_grad_()
            # One part may be made of another (hidden = residual + attention): only a copy tells
            # whether the part itself is used by who called the module.
            tensor = tensor.clone()
            if not going_back:
                edges[module, member] = get_gradient_edge(tensor)
                passed[module, member] = tensor, tensor._version
            output = with_member(output, member, tensor)
        return output

    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        with torch.enable_grad():
            output = logits(tokens)
            going_back = True
            gradients = _go_back(output, list(edges.values()))
    finally:
        for handle in handles:
            handle.remove()
    fates: dict[nn.Module, dict[Member, Fate]] = {}
    for (module, member), gradient in zip(edges, gradients, strict=True):
        tensor, version = passed[module, member]
        fate = Fate(used=gradient is not None, written=tensor._version != version)
        fates.setdefault(module, {})[member] = fate
    return fates


def _go_back(output: Tensor, edges: Sequence[GradientEdge]) -> Sequence[Tensor | None]:
    if not edges or not output.requires_grad:
        return [None] * len(edges)
    return torch.autograd.grad(
        output, edges, grad_outputs=torch.ones_like(output), allow_unused=True
    )
