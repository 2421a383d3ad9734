"""Where the first NaN or infinity of a training run came from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from backlight.training.alarm.batches import Batch, replay
from backlight.training.history.history import ParameterInfo

__all__ = ["Cause", "bad_weight", "find_cause"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Where it began.

    Attributes:
        where: ``weight``, ``forward``, ``backward`` or ``unknown``.
        module: The module's path; None if unknown.
        parameter: The parameter's name; None if unknown.
        text: The same as a part of a sentence.
    """

    where: str
    module: str | None = None
    parameter: str | None = None
    text: str


def bad_weight(parameters: Sequence[ParameterInfo], bad: NDArray[np.bool_]) -> Cause | None:
    """Blame the first weight, from the input on, that is not finite.

    Args:
        parameters: All of them.
        bad: Which of them hold NaN or infinity.

    Returns:
        The cause; None if all are finite.
    """
    names = [info for info, flag in zip(parameters, bad, strict=True) if flag]
    if not names:
        return None
    first = min(names, key=lambda info: info.depth)
    others = f", as do {len(names) - 1} others behind it" if len(names) > 1 else ""
    return Cause(
        where="weight",
        module=first.module,
        parameter=first.name,
        text=f"the weights {first.name} held NaN or infinity before the step{others}",
    )


def find_cause(
    model: nn.Module,
    parameters: Sequence[ParameterInfo],
    *,
    bad_weights: NDArray[np.bool_],
    bad_gradients: NDArray[np.bool_],
    batch: Batch | None,
    device: torch.device,
    loss_is_finite: bool,
) -> Cause:
    """Look for the cause: in the weights, then in the forward pass, then in the backward pass.

    Args:
        model: The model, with the weights that it had in the forward pass.
        parameters: Its parameters.
        bad_weights: Which of them held NaN or infinity in the forward pass.
        bad_gradients: Which of their gradients do.
        batch: The batch; None if it is unknown, or the weights have changed since.
        device: Where the model is.
        loss_is_finite: Whether the loss is, if it is known.

    Returns:
        The cause.
    """
    cause = bad_weight(parameters, bad_weights)
    if cause is None and batch is not None:
        cause = _in_forward(model, batch, device)
    if cause is not None:
        return cause
    if not loss_is_finite and batch is not None:
        return Cause(
            where="forward",
            module="",
            text="the model's outputs are finite, but the loss computed from them is not",
        )
    if not loss_is_finite:
        return Cause(
            where="forward",
            text="the loss was not finite; the forward pass could not be repeated, since its "
            "weights or its batch are not there any more",
        )
    return _in_backward(parameters, bad_gradients, replayed=batch is not None)


def _in_backward(
    parameters: Sequence[ParameterInfo], bad: NDArray[np.bool_], *, replayed: bool
) -> Cause:
    """Blame the gradient that is the first to be bad on the way from the loss to the input."""
    names = [info for info, flag in zip(parameters, bad, strict=True) if flag]
    if not names:
        return Cause(where="unknown", text="weights, gradients and the forward pass are finite")
    last = max(names, key=lambda info: info.depth)
    forward = (
        "the forward pass is finite"
        if replayed
        else "the forward pass could not be repeated with the weights of that step"
    )
    return Cause(
        where="backward",
        module=last.module,
        parameter=last.name,
        text=f"{forward}, and on the way back from the loss the first gradient that is not "
        f"finite is that of {last.name}",
    )


def _in_forward(model: nn.Module, batch: Batch, device: torch.device) -> Cause | None:
    """Blame the first module whose inputs are finite and whose output is not."""
    found: list[str] = []
    paths = {module: path for path, module in model.named_modules()}

    def watcher(
        module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any
    ) -> None:
        if not found and _is_bad(output) and not _is_bad((arguments, keywords)):
            found.append(paths[module])

    try:
        replay(model, batch, device, watcher)
    except RuntimeError as error:  # such as memory: the training goes on all the same
        return Cause(where="unknown", text=f"the last batch could not be repeated ({error})")
    if found:
        kind = type(model.get_submodule(found[0])).__name__
        return Cause(
            where="forward",
            module=found[0],
            text=f"the first module that turned finite inputs into an output that is not finite "
            f"is {found[0] or 'the model itself'} ({kind})",
        )
    if _is_bad((batch.arguments, batch.keywords)):
        return Cause(where="forward", module="", text="the batch itself held NaN or infinity")
    return None


def _is_bad(value: Any) -> bool:
    return any(_is_bad_tensor(tensor) for tensor in _tensors(value))


def _is_bad_tensor(tensor: Tensor) -> bool:
    if isinstance(tensor, DTensor):
        tensor = tensor.to_local()
    if not tensor.is_floating_point() or bool(tensor.isfinite().all()):
        return False
    # A mask that is added to scores is infinite on purpose.
    return not bool(((tensor == 0) | (tensor == -torch.inf)).all())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in cast("Mapping[Any, Any]", value).values():
            yield from _tensors(inner)
    elif isinstance(value, (list, tuple)):
        for inner in cast("Sequence[Any]", value):
            yield from _tensors(inner)
