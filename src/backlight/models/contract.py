"""The contract of a module that backlight does not know, proven on the module itself.

Numbers of a corpus are right only if what passes at a site has a row for each token, once in a
forward pass; if a token's logits do not depend on what stands to its right, on the other sequences
of the batch or on chance; and if a gradient finds its way back. None of this is written on a
module, so it is given a few tokens in several ways, and what moves is looked at: an axis that has
the size of the batch whenever the batch changes is the batch, and changing the last tokens of one
sequence may change what belongs to them and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from backlight.errors import ModelError
from backlight.models.dependence import Fate, fates_of
from backlight.models.lending import borrowed
from backlight.models.logits import Found, find_logits, prove_logits
from backlight.models.outputs import Member, member_of
from backlight.models.rows import ALONE, MANY, Trial, axes_of, fault_of, in_rows
from backlight.models.trying import (
    Pass,
    alone,
    changed,
    hookable,
    padded,
    run_tokens,
    some_tokens,
)

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What was proven of a module.

    Attributes:
        logits: From token ids to logits ``[batch, positions, vocabulary]``.
        sites: For the path of each module inside it, where its output has rows of tokens, or a
            sentence that says why it has none.
    """

    logits: Callable[[Tensor], Tensor]
    sites: Mapping[str, Found | str]


def prove_contract(model: nn.Module, forward: Callable[[Tensor], object], name: str) -> Contract:
    """Find out where a model's logits and its modules' outputs have a row for each token.

    Args:
        model: The model; it is given back as it was.
        forward: From token ids ``[batch, positions]`` to something with logits.
        name: What messages call it.

    Returns:
        What was proven.

    Raises:
        ModelError: If the model cannot be run, or gives no logits for each token, or other ones in
            other company, at other lengths or the next time.
    """
    name = name[:200]
    check_module(model)
    _refuse_unready(model, name)
    with borrowed(model):
        tokens = some_tokens(model)
        passes = [
            run_tokens(model, forward, ids, name)
            for ids in (tokens, changed(tokens), alone(tokens), tokens, padded(tokens))
        ]
        plain, other, cut, again, tail = passes
        where = find_logits(plain.output, cut.output, name)
        rows = [_rows(each, where, MANY) for each in (plain, other, again, tail)]
        _refuse_nan(rows[0], plain, model, name)
        beginning = _rows(cut, where, ALONE)
        for changes in (rows[1], rows[3]):
            prove_logits(Trial(plain=rows[0], changed=changes, alone=beginning), rows[2], name)

        def logits(input_ids: Tensor) -> Tensor:
            tensor = member_of(forward(input_ids), where.member)
            if not isinstance(tensor, Tensor):
                raise ModelError(f"{name} gave logits at load, but none now.")
            return in_rows(tensor, where.axes, tuple(input_ids.shape))

        sites = _find_sites(model, logits, tokens, passes[:3], name)
    return Contract(logits=logits, sites=sites)


def without_gradient(name: str) -> str:
    """Say that what passes at a site passes where gradients are switched off."""
    return (
        f"{name} passes with gradients switched off (torch.no_grad, inference_mode, or checkpoint "
        "with use_reentrant=True), so no gradient reaches it. Use use_reentrant=False."
    )


def no_way_back(name: str, error: RuntimeError) -> str:
    """Say why a backward pass failed."""
    if "use_reentrant" in str(error):
        return (
            f"{name} uses checkpoint with use_reentrant=True, through which gradients of "
            "activations cannot be taken. Use use_reentrant=False; the numbers are the same."
        )
    return f"The backward pass through {name} failed: {str(error).strip().splitlines()[0][:200]}"


def check_module(model: object) -> None:
    """Refuse what is no module of torch.

    Args:
        model: What was handed over as a model.

    Raises:
        ModelError: If it is something else.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"A torch.nn.Module is needed, not a {type(model).__name__}: the module whose parts "
            "are measured. How it is called can be given as forward=."
        )


def _refuse_unready(model: nn.Module, name: str) -> None:
    for path, tensor in (*model.named_parameters(), *model.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            raise ModelError(f"{path} of {name} has no shape yet: call the model once before.")
        if tensor.is_meta:
            raise ModelError(f"{path} of {name} is on the meta device: it has no numbers yet.")
        if tensor.is_inference():
            raise ModelError(
                f"{path} of {name} was made in torch.inference_mode, where no gradient can be "
                "taken of what it is used in. Make the model outside of it."
            )


def _rows(seen: Pass, where: Found, shape: tuple[int, int]) -> Tensor:
    tensor = member_of(seen.output, where.member)
    assert isinstance(tensor, Tensor)
    return in_rows(tensor.detach(), where.axes, shape)


def _refuse_nan(logits: Tensor, seen: Pass, model: nn.Module, name: str) -> None:
    """Refuse logits of which nothing can be proven, and name the module where that began."""
    if not (logits.isnan() | logits.isposinf()).any():
        return
    paths = {module: path for path, module in model.named_modules()}
    bad = [
        paths[module]
        for module, calls in seen.outputs.items()
        for tensor in calls[0].values()
        if paths[module] and not tensor.isfinite().all()
    ]
    where = f"The first such module is {bad[0]}: look" if bad else "Look"
    raise ModelError(
        f"The logits of {name} are not finite for the tokens that it was tried with, so nothing "
        f"can be proven of it. {where} for NaN in the weights, or try another dtype."
    )


def _find_sites(
    model: nn.Module,
    logits: Callable[[Tensor], Tensor],
    tokens: Tensor,
    passes: Sequence[Pass],
    name: str,
) -> dict[str, Found | str]:
    """Find out what each module gives, by all the paths under which it is reached."""
    paths = {
        path: module
        for path, module in model.named_modules(remove_duplicate=False)
        if path and not isinstance(module, _CONTAINERS)
    }
    fitting = {module: _fitting(module, passes) for module in paths.values()}
    parts = {
        module: [each.member for each in found]
        for module, found in fitting.items()
        if not isinstance(found, str)
    }
    try:
        fates = fates_of(logits, tokens, parts)
    except RuntimeError as error:
        raise ModelError(no_way_back(name, error)) from error
    return {
        path: _chosen(path, module, fitting[module], fates.get(module))
        for path, module in paths.items()
    }


def _fitting(module: nn.Module, passes: Sequence[Pass]) -> list[Found] | str:
    """Find the parts of a module's output that have a row for each token, or say why none has."""
    if not hookable(module):
        return "is made by TorchScript, which takes no hooks. Measure the module it was made from."
    calls = [seen.outputs.get(module, []) for seen in passes]
    most = max(map(len, calls))
    if most != 1 or min(map(len, calls)) != 1:
        return (
            f"is used {most} times in one forward pass, so no single gradient belongs to it. Give "
            "each use a module of its own (nn.Identity will do), and name that."
            if most > 1
            else "is not called in each forward pass (or not as a module, by its forward), so "
            "nothing passes there. Name a module in it or around it."
        )
    plain, changed, alone = (each[0] for each in calls)
    found: list[Found] = []
    reason = "gives no tensor of real numbers. Name a module in it or around it."
    for member, tensor in plain.items():
        if not tensor.is_floating_point() or not (member in changed and member in alone):
            continue
        axes = axes_of(tensor.shape, alone[member].shape)
        if axes is None or changed[member].shape != tensor.shape:
            reason = (
                f"gives {list(tensor.shape)} numbers for {MANY[0]} sequences of {MANY[1]} tokens: "
                "no row for each token. Name a module in it or around it."
            )
            continue
        rows = in_rows(tensor, axes, MANY)
        trial = Trial(
            plain=rows,
            changed=in_rows(changed[member], axes, MANY),
            alone=in_rows(alone[member], axes, ALONE),
        )
        fault = fault_of(trial)
        if fault is not None:
            reason = (
                f"gives numbers for a token that change with {fault}, so they do not belong to "
                "that token. Name a module in it or around it."
            )
            continue
        found.append(Found(member=member, axes=axes, width=rows.shape[-1]))
    return found or reason


def _chosen(
    path: str, module: nn.Module, found: list[Found] | str, fates: Mapping[Member, Fate] | None
) -> Found | str:
    """Choose the part of a module's output that is meant, or say why there is none."""
    who = f"{path} ({type(module).__name__})"
    if isinstance(found, str):
        return f"{who} {found}"
    if fates is None:
        return without_gradient(who)
    used = [each for each in found if fates[each.member].used]
    if len(found) > 1 and len(used) != 1:
        which = ", ".join(str(each.member) for each in found)
        return (
            f"{who} gives several tensors with a row for each token ({which[:100]}), and which one "
            "is meant is not said. Name a module in it or around it."
        )
    one = found[0] if len(found) == 1 else used[0]
    return replace(one, written=fates[one.member].written)
