"""The contract of a module that backlight does not know, proven on the module itself.

Numbers of a corpus are right only if what passes at a site has a row for each token, once in a
forward pass; if a token's logits do not depend on what stands to its right, on the other sequences
of the batch or on chance; and if a gradient finds its way back. None of this is written on a
module, so it is given a few tokens in several ways, and what moves is looked at: an axis that has
the size of the batch whenever the batch changes is the batch, and changing the last tokens of one
sequence may change what belongs to them and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from backlight.errors import ModelError
from backlight.models.dependence import depended_on
from backlight.models.lending import borrowed, device_of
from backlight.models.outputs import Member, member_of, members
from backlight.models.rows import (
    ALONE,
    CHANGED_ROW,
    MANY,
    SHARED,
    Axes,
    Trial,
    axes_of,
    fault_of,
    in_rows,
)

__all__ = ["Contract", "Found", "no_way_back", "prove_contract", "without_gradient"]

_GIVE_FORWARD = "Give forward=, a function from token ids to logits [batch, positions, vocabulary]."
_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_RAISED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)  # what a model may raise when it is called in a way that it is not made for


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a module's output has a row of numbers for each token.

    Attributes:
        member: Which part of the output.
        axes: Which axes of it are batch and positions.
        width: How many numbers there are for each token.
    """

    member: Member
    axes: Axes
    width: int


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


@dataclass(slots=True)
class _Pass:
    """What came out of one forward pass.

    Attributes:
        output: What the model gave.
        outputs: For each module, the tensors of each of its calls.
    """

    output: object = None
    outputs: dict[nn.Module, list[dict[Member, Tensor]]] = field(
        default_factory=dict[nn.Module, list[dict[Member, Tensor]]]
    )


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
    _refuse_unready(model, name)
    with borrowed(model):
        tokens = _tokens(device_of(model))
        plain = _run(model, forward, tokens, name, watch=True)
        changed = _run(model, forward, _changed(tokens, 1), name, watch=True)
        alone = _run(model, forward, tokens[-1:, : ALONE[1]], name, watch=True)
        where = _find_logits(plain.output, alone.output, name)

        def logits(input_ids: Tensor) -> Tensor:
            tensor = member_of(forward(input_ids), where.member)
            assert isinstance(tensor, Tensor)
            return in_rows(tensor, where.axes, (*input_ids.shape,))

        def again(input_ids: Tensor) -> Tensor:
            return logits(input_ids).detach()

        trial = Trial(
            plain=again(tokens), changed=again(_changed(tokens, 1)), alone=again(tokens[-1:, :5])
        )
        _prove_logits(trial, in_rows(_tensor(plain.output, where), where.axes, MANY), name)
        _prove_logits(
            Trial(plain=trial.plain, changed=again(_changed(tokens, None)), alone=trial.alone),
            trial.plain,
            name,
        )
        sites = _find_sites(model, logits, tokens, (plain, changed, alone), name)
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


def _refuse_unready(model: nn.Module, name: str) -> None:
    for path, tensor in (*model.named_parameters(), *model.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            raise ModelError(f"{path} of {name} has no shape yet: call the model once before.")
        if tensor.is_meta:
            raise ModelError(f"{path} of {name} is on the meta device: it has no numbers yet.")


def _tokens(device: torch.device) -> Tensor:
    """Make some tokens from the ids 1 to 3: 0 is a pad in many models, and there may be few."""
    generator = torch.Generator().manual_seed(5)
    return torch.randint(1, 4, MANY, generator=generator).to(device)


def _changed(tokens: Tensor, shift: int | None) -> Tensor:
    """Change the last tokens of one sequence: each to another one, or all to pads."""
    changed = tokens.clone()
    tail = changed[CHANGED_ROW, SHARED:]
    tail[:] = 0 if shift is None else tail % 3 + shift
    return changed


def _run(
    model: nn.Module, forward: Callable[[Tensor], object], tokens: Tensor, name: str, *, watch: bool
) -> _Pass:
    """Run some tokens, and keep a copy of what each module gives."""
    seen = _Pass()

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        del inputs
        copies = {member: tensor.detach().clone() for member, tensor in members(output)}
        seen.outputs.setdefault(module, []).append(copies)

    handles = [module.register_forward_hook(hook) for module in model.modules() if watch]
    try:
        with torch.no_grad():
            seen.output = forward(tokens)
    except _RAISED as error:
        told = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelError(
            f"Calling {name} with token ids of shape {list(tokens.shape)} failed: "
            f"{type(error).__name__}: {told}. {_GIVE_FORWARD}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _find_logits(many: object, few: object, name: str) -> Found:
    """Find the part of a model's output that has a row of logits for each token."""
    parts, fewer = dict(members(many)), dict(members(few))
    named = parts.keys() & {"logits"}
    found = [
        Found(member=member, axes=axes, width=in_rows(tensor, axes, MANY).shape[-1])
        for member, tensor in parts.items()
        if (member in named or not named)
        and tensor.is_floating_point()
        and member in fewer
        and (axes := axes_of(tensor.shape, fewer[member].shape)) is not None
        and tensor.dim() > 1 + (axes != (0, 0))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        which = ", ".join(str(each.member) for each in found)
        raise ModelError(
            f"{name} gives several tensors with a row for each token ({which[:100]}), and it is "
            f"not said which holds the logits. {_GIVE_FORWARD}"
        )
    raise ModelError(f"{name} gives {_described(many)}: {_missing(parts)}. {_GIVE_FORWARD}")


def _described(output: object) -> str:
    if isinstance(output, Tensor):
        return f"{_shape(output)} for {MANY[0]} sequences of {MANY[1]} tokens"
    held = ", ".join(f"{member}: {_shape(tensor)}" for member, tensor in members(output))
    return f"{type(output).__name__} with {held[:150]}" if held else type(output).__name__


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _missing(parts: Mapping[Member, Tensor]) -> str:
    real = [tensor for tensor in parts.values() if tensor.is_floating_point()]
    shapes = [tuple(tensor.shape) for tensor in real]
    if any(shape[:1] == MANY[:1] and len(shape) == 2 for shape in shapes) or any(
        len(shape) == 3 and 1 in shape[:2] and MANY[0] in shape[:2] for shape in shapes
    ):
        return (
            "logits of one position only, but the loss needs those of every position (nanoGPT "
            "gives them with targets: forward=lambda ids: model(ids, ids)[0])"
        )
    return "no logits for each token" if real else "no real numbers"


def _tensor(output: object, where: Found) -> Tensor:
    tensor = member_of(output, where.member)
    assert isinstance(tensor, Tensor)
    return tensor


def _prove_logits(trial: Trial, before: Tensor, name: str) -> None:
    """Check what the logits of a token depend on."""
    if before.isnan().any() or before.isposinf().any():
        raise ModelError(
            f"The logits of {name} are not finite for the tokens that it was tried with, so "
            "nothing can be proven of it. Look for NaN in the weights, or try another dtype."
        )
    if Trial(plain=trial.plain, changed=before, alone=trial.alone).moves().any():
        raise ModelError(
            f"{name} gives other logits when it is asked the same a second time, also in "
            "evaluation mode: dropout that is always on, random numbers, or memory of past calls."
        )
    fault = fault_of(trial)
    if fault == "later tokens":
        raise ModelError(
            f"{name} is not a causal language model: a token's output changes with the "
            "tokens to its right. backlight measures the next-token loss of causal models."
        )
    if fault is not None:
        raise ModelError(
            f"The logits that {name} gives for a token change with {fault}, so a passage would "
            "have other numbers in another batch: batch statistics, or positions from the end?"
        )
    rows = trial.plain.double()
    if rows.shape[-1] > 1 and (rows >= 0).all() and (rows.sum(-1) - 1).abs().max() < 1e-3:
        raise ModelError(
            f"{name} gives probabilities, not logits: they add up to one. {_GIVE_FORWARD}"
        )


def _find_sites(
    model: nn.Module,
    logits: Callable[[Tensor], Tensor],
    tokens: Tensor,
    passes: Sequence[_Pass],
    name: str,
) -> dict[str, Found | str]:
    """Find out what each module gives, by all the paths under which it is reached."""
    paths = {
        path: module
        for path, module in model.named_modules(remove_duplicate=False)
        if path and not isinstance(module, _CONTAINERS)
    }
    fitting = {module: _fitting(module, passes) for module in paths.values()}
    asked = {module: found for module, found in fitting.items() if not isinstance(found, str)}
    try:
        depends = depended_on(
            logits, tokens, {module: [each.member for each in asked[module]] for module in asked}
        )
    except RuntimeError as error:
        raise ModelError(no_way_back(name, error)) from error
    return {path: _one(path, module, fitting[module], depends) for path, module in paths.items()}


def _fitting(module: nn.Module, passes: Sequence[_Pass]) -> list[Found] | str:
    """Find the parts of a module's output that have a row for each token, or say why none has."""
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


def _one(
    path: str,
    module: nn.Module,
    found: list[Found] | str,
    depends: Mapping[nn.Module, Mapping[Member, bool] | None],
) -> Found | str:
    who = f"{path} ({type(module).__name__})"
    if isinstance(found, str):
        return f"{who} {found}"
    seen = depends.get(module)
    if seen is None:
        return without_gradient(who)
    if len(found) == 1:
        return found[0]
    used = [each for each in found if seen.get(each.member, False)]
    if len(used) == 1:
        return used[0]
    which = ", ".join(str(each.member) for each in found)
    return (
        f"{who} gives several tensors with a row for each token ({which[:100]}), and which one is "
        "meant is not said. Name a module in it or around it."
    )
