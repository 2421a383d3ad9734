"""Which parts of what modules give can be reached by a gradient of the logits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from backlight.models.outputs import Member, member_of, with_member

__all__ = ["depended_on"]


def depended_on(
    logits: Callable[[Tensor], Tensor],
    tokens: Tensor,
    modules: Mapping[nn.Module, Sequence[Member]],
) -> dict[nn.Module, dict[Member, bool] | None]:
    """Go back from the logits once, as a measurement does, and see where a gradient arrives.

    Args:
        logits: From token ids to logits; the model's parameters are frozen.
        tokens: Some tokens.
        modules: The parts of each module's output that are tapped.

    Returns:
        For each module and part whether the logits depend on it; None for a module that passes
        where gradients are switched off.
    """
    edges: dict[tuple[nn.Module, Member], GradientEdge] = {}
    going_back = False

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        del inputs
        if not torch.is_grad_enabled():
            return output
        for member in modules[module]:
            tensor = member_of(output, member)
            if not isinstance(tensor, Tensor):
                continue
            if not tensor.requires_grad:
                tensor = tensor.detach().requires_grad_().clone()
            if len(modules[module]) > 1:
                # One part may be made of another (hidden = residual + attention): only an alias
                # tells whether the part itself is used by who called the module.
                tensor = tensor.view_as(tensor)
            if not going_back:
                edges[module, member] = get_gradient_edge(tensor)
            output = with_member(output, member, tensor)
        return output

    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        with torch.enable_grad():
            output = logits(tokens)
            going_back = True
            asked = list(edges)
            gradients = (
                torch.autograd.grad(
                    output,
                    [edges[each] for each in asked],
                    grad_outputs=torch.ones_like(output),
                    allow_unused=True,
                )
                if asked and output.requires_grad
                else [None] * len(asked)
            )
    finally:
        for handle in handles:
            handle.remove()
    arrived = {each: g is not None for each, g in zip(asked, gradients, strict=True)}
    return {
        module: {member: arrived[module, member] for member in parts}
        if all((module, member) in arrived for member in parts)
        else None
        for module, parts in modules.items()
    }
