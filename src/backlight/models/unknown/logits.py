"""Where in a model's output the logits are, and what they depend on."""

from collections.abc import Mapping

from torch import Tensor

from backlight.errors import ModelError
from backlight.models.outputs import Member, members
from backlight.models.unknown.rows import ALONE, MANY, Fault, Found, axes_of, in_rows, moved
from backlight.models.unknown.trying import GIVE_FORWARD


def find_logits(many: object, few: object, name: str) -> Found:
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


def prove_logits(plain: Tensor, again: Tensor, fault: Fault | None, name: str) -> None:
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
