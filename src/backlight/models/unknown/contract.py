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
from backlight.models.outputs import member_of
from backlight.models.unknown.logits import find_logits, prove_logits
from backlight.models.unknown.parts import find_parts
from backlight.models.unknown.rows import ALONE, MANY, Found, fault_of, in_rows
from backlight.models.unknown.trying import (
    Pass,
    alone,
    changed,
    padded,
    run_tokens,
    some_tokens,
)


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
        plain, other, cut, again, tail = (
            run_tokens(model, forward, ids, name)
            for ids in (tokens, changed(tokens), alone(tokens), tokens, padded(tokens))
        )
        where = find_logits(plain.output, cut.output, name)

        def rows(output: object, shape: tuple[int, ...]) -> Tensor:
            tensor = member_of(output, where.member)
            if not isinstance(tensor, Tensor):
                raise ModelError(f"{name} gave logits at load, but none now.")
            return in_rows(tensor, where.axes, shape)

        expected, beginning = rows(plain.output, MANY), rows(cut.output, ALONE)
        _refuse_nan(expected, plain, model, name)
        for other_end in (other, tail):
            fault = fault_of(expected, rows(other_end.output, MANY), beginning)
            prove_logits(expected, rows(again.output, MANY), fault, name)

        def logits(input_ids: Tensor) -> Tensor:
            return rows(forward(input_ids), tuple(input_ids.shape))

        sites = find_parts(model, logits, tokens, (plain, other, cut), name)
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
