"""The contract of a module that backlight does not know, proven on the module itself.

Numbers of a corpus are right only if what passes at a site has a row for each token, once in a
forward pass; if a token's logits do not depend on what stands to its right, on the other sequences
of the batch or on chance; and if a gradient finds its way back. None of this is written on a
module, so it is given a few tokens in several ways, and what moves is looked at: an axis that has
the size of the batch whenever the batch changes is the batch, and changing the last tokens of one
sequence may change what belongs to them and nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from backlight.errors import ModelError
from backlight.models.lending import borrowed
from backlight.models.outputs import Member, member_of, members
from backlight.models.unknown.parts import find_parts
from backlight.models.unknown.rows import (
    ALONE,
    MANY,
    Fault,
    Found,
    axes_of,
    fault_of,
    in_rows,
    moved,
)
from backlight.models.unknown.trying import GIVE_FORWARD, Pass, run_trials, some_tokens


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
        trials = run_trials(model, forward, tokens, name)
        plain, other, cut, again, tail = trials
        where = _find_logits(plain.output, cut.output, name)

        def rows(output: object, shape: tuple[int, ...]) -> Tensor:
            tensor = member_of(output, where.member)
            if not isinstance(tensor, Tensor):
                raise ModelError(f"{name} gave logits at load, but none now.")
            return in_rows(tensor, where.axes, shape)

        expected, beginning = rows(plain.output, MANY), rows(cut.output, ALONE)
        _refuse_nan(expected, plain, model, name)
        for other_end in (other, tail):
            fault = fault_of(expected, rows(other_end.output, MANY), beginning)
            _prove_logits(expected, rows(again.output, MANY), fault, name)

        def logits(input_ids: Tensor) -> Tensor:
            return rows(forward(input_ids), tuple(input_ids.shape))

        sites = find_parts(model, logits, tokens, trials[:3], name)
    return Contract(logits=logits, sites=sites)


def check_module(model: object) -> None:
    """Refuse what is no module of torch; raises a ModelError."""
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"A torch.nn.Module is needed, not a {type(model).__name__}: the module whose parts "
            "are measured. How it is called can be given as forward=."
        )


def _refuse_unready(model: nn.Module, name: str) -> None:
    """Refuse a model whose numbers are not there, or take no gradient."""
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


def _refuse_nan(logits: Tensor, seen: Pass, model: nn.Module, name: str) -> None:
    """Refuse logits of which nothing can be proven, and name the module where that began."""
    if not (logits.isnan() | logits.isposinf()).any():
        return
    paths = {module: path for path, module in model.named_modules()}
    bad = [
        paths[module]
        for module, calls in seen.calls.items()
        for tensor in calls[0].values()
        if paths[module] and not tensor.isfinite().all()
    ]
    where = f"The first such module is {bad[0]}: look" if bad else "Look"
    raise ModelError(
        f"The logits of {name} are not finite for the tokens that it was tried with, so nothing "
        f"can be proven of it. {where} for NaN in the weights, or try another dtype."
    )


def _find_logits(many: object, few: object, name: str) -> Found:
    """Find the part of a model's output that has a row of logits for each token.

    Args:
        many: What it gave for ``MANY`` tokens.
        few: What it gave for ``ALONE``.
        name: What messages call it.

    Returns:
        Where they are.

    Raises:
        ModelError: If there are none, or several tensors could be they.
    """
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
            f"not said which holds the logits. {GIVE_FORWARD}"
        )
    raise ModelError(
        f"{name} gives {_described(many)} for {MANY[0]} sequences of {MANY[1]} tokens, and "
        f"{_described(few)} for {ALONE[0]} of {ALONE[1]}: {_missing(parts)}. {GIVE_FORWARD}"
    )


def _described(output: object) -> str:
    if isinstance(output, Tensor):
        return _shape(output)
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


def _prove_logits(plain: Tensor, again: Tensor, fault: Fault | None, name: str) -> None:
    """Refuse logits of which a token's depend on more than the token and those before it.

    Args:
        plain: The logits of some tokens, ``[batch, positions, vocabulary]``.
        again: Those of the same tokens, when they were asked for a second time.
        fault: What else they were found to depend on, None if nothing.
        name: What messages call the model.

    Raises:
        ModelError: If they do, or are probabilities.
    """
    if moved(plain, again).any():
        raise ModelError(
            f"{name} gives other logits when it is asked the same a second time, also in "
            "evaluation mode: dropout that is always on, random numbers, or memory of past calls."
        )
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
    rows = plain.double()
    if rows.shape[-1] > 1 and (rows >= 0).all() and (rows.sum(-1) - 1).abs().max() < 1e-3:
        raise ModelError(
            f"{name} gives probabilities, not logits: they add up to one. {GIVE_FORWARD}"
        )
