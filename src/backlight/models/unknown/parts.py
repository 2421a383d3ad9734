"""Where the modules of a model give a row of numbers for each token, and what becomes of it."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from backlight.models.backward import explaining, without_gradient
from backlight.models.outputs import Member, member_of, with_member
from backlight.models.unknown.rows import ALONE, MANY, Found, axes_of, fault_of, in_rows
from backlight.models.unknown.trying import Pass, hookable

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_ANOTHER = "Name a module in it or around it."


def find_parts(
    model: nn.Module,
    logits: Callable[[Tensor], Tensor],
    tokens: Tensor,
    passes: Sequence[Pass],
    name: str,
) -> dict[str, Found | str]:
    """Find out what each module gives, by all the paths under which it is reached.

    Args:
        model: The model.
        logits: From token ids to logits; the model's parameters are frozen.
        tokens: Some tokens.
        passes: What these, the same with another end, and the last of them alone have given.
        name: What messages call the model.

    Returns:
        By path, the part of a module's output that has a row for each token, or a sentence that
        says why there is none.

    Raises:
        ModelError: If no backward pass can be run.
    """
    paths = {
        path: module
        for path, module in model.named_modules(remove_duplicate=False)
        if path and not isinstance(module, _CONTAINERS)
    }
    fitting = {module: _fitting(module, passes) for module in paths.values()}
    fits = {module: found for module, found in fitting.items() if not isinstance(found, str)}
    with explaining(name):
        fates = _trace(logits, tokens, fits)
    return {
        path: _chosen(f"{path} ({type(module).__name__})", fitting[module], fates.get(module))
        for path, module in paths.items()
    }


def _fitting(module: nn.Module, passes: Sequence[Pass]) -> list[Found] | str:
    """Find the parts of a module's output that have a row for each token, or say why none has."""
    if not hookable(module):
        return "is made by TorchScript, which takes no hooks. Measure the module it was made from."
    calls = [seen.calls.get(module, []) for seen in passes]
    most = max(map(len, calls))
    if most > 1:
        return (
            f"is used {most} times in one forward pass, so no single gradient belongs to it. Give "
            "each use a module of its own (nn.Identity will do), and name that."
        )
    if min(map(len, calls)) == 0:
        return (
            "is not called in each forward pass (or not as a module, by its forward), so "
            f"nothing passes there. {_ANOTHER}"
        )
    plain, changed, alone = (each[0] for each in calls)
    found = [
        _found(member, tensor, changed[member], alone[member])
        for member, tensor in plain.items()
        if tensor.is_floating_point() and member in changed and member in alone
    ]
    good = [each for each in found if not isinstance(each, str)]
    reasons = [each for each in found if isinstance(each, str)]
    return good or (reasons or [f"gives no tensor of real numbers. {_ANOTHER}"])[-1]


def _found(member: Member, plain: Tensor, changed: Tensor, alone: Tensor) -> Found | str:
    axes = axes_of(plain.shape, alone.shape)
    if axes is None or changed.shape != plain.shape:
        return (
            f"gives {list(plain.shape)} numbers for {MANY[0]} sequences of {MANY[1]} tokens: "
            f"no row for each token. {_ANOTHER}"
        )
    rows = in_rows(plain, axes, MANY)
    fault = fault_of(rows, in_rows(changed, axes, MANY), in_rows(alone, axes, ALONE))
    if fault is not None:
        return (
            f"gives numbers for a token that change with {fault}, so they do not belong to "
            f"that token. {_ANOTHER}"
        )
    return Found(member=member, axes=axes, width=rows.shape[-1])


def _chosen(
    who: str, found: list[Found] | str, fates: Sequence[tuple[Found, bool]] | None
) -> Found | str:
    """Choose the part of a module's output that is meant, or say why there is none."""
    if isinstance(found, str):
        return f"{who} {found}"
    if fates is None:
        return without_gradient(who)
    used = [part for part, is_used in fates if is_used or len(found) == 1]
    if len(used) == 1:
        return used[0]
    which = ", ".join(str(each.member) for each in found)
    return (
        f"{who} gives several tensors with a row for each token ({which[:100]}), and which one "
        f"is meant is not said. {_ANOTHER}"
    )


def _trace(
    logits: Callable[[Tensor], Tensor], tokens: Tensor, parts: Mapping[nn.Module, Sequence[Found]]
) -> dict[nn.Module, list[tuple[Found, bool]]]:
    """Go back from the logits once, as a measurement does, and see where a gradient arrives.

    Args:
        logits: From token ids to logits; the model's parameters are frozen.
        tokens: Some tokens.
        parts: The parts of each module's output that are looked at.

    Returns:
        Each part, with whether it is written into in place, and whether the logits depend on it; a
        module that passes where gradients are switched off is missing.
    """
    passed: list[tuple[nn.Module, Found, Tensor, int]] = []
    edges: list[GradientEdge] = []
    going_back = False

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        del inputs
        for part in parts[module] if torch.is_grad_enabled() else ():
            tensor = member_of(output, part.member)
            assert isinstance(tensor, Tensor)
            if not tensor.requires_grad:
                tensor = tensor.detach().requires_grad_()
            # One part may be made of another (hidden = residual + attention): only a copy tells
            # whether the part itself is used by who called the module.
            tensor = tensor.clone()
            if not going_back:  # a checkpointed block is run again on the way back
                edges.append(get_gradient_edge(tensor))
                passed.append((module, part, tensor, tensor._version))
            output = with_member(output, part.member, tensor)
        return output

    handles = [module.register_forward_hook(hook) for module in parts]
    try:
        with torch.enable_grad():
            output = logits(tokens)
            going_back = True
            gradients: Sequence[Tensor | None] = [None] * len(edges)
            if edges and output.requires_grad:
                ones = torch.ones_like(output)
                gradients = torch.autograd.grad(output, edges, ones, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    fates: defaultdict[nn.Module, list[tuple[Found, bool]]] = defaultdict(list)
    for (module, part, tensor, version), gradient in zip(passed, gradients, strict=True):
        part = replace(part, written=tensor._version != version)
        fates[module].append((part, gradient is not None))
    return fates
