"""Where in a model's output the logits are, and what they depend on."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from backlight.errors import ModelError
from backlight.models.outputs import Member, members
from backlight.models.rows import ALONE, MANY, Axes, Trial, axes_of, fault_of, in_rows
from backlight.models.trying import GIVE_FORWARD


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a module's output has a row of numbers for each token.

    Attributes:
        member: Which part of the output.
        axes: Which axes of it are batch and positions.
        width: How many numbers there are for each token.
        written: It is written into after it has passed.
    """

    member: Member
    axes: Axes
    width: int
    written: bool = False


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


def prove_logits(trial: Trial, before: Tensor, name: str) -> None:
    """Check what the logits of a token depend on.

    Args:
        trial: The logits.
        before: Those of the plain tokens, when they were asked for the first time.
        name: What messages call the model.

    Raises:
        ModelError: If it is something else than the token and those before it.
    """
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
            f"{name} gives probabilities, not logits: they add up to one. {GIVE_FORWARD}"
        )
