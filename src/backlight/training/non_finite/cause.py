"""Where the first NaN or infinity of a training run came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn

from backlight.errors import RunError
from backlight.models.distributed_weights import DTensor
from backlight.training.guarding.guard import message_of
from backlight.training.log.history import ParameterInfo
from backlight.training.non_finite.apart import do_apart
from backlight.training.non_finite.batches import Batch, replay
from backlight.training.non_finite.inputs import tensors


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
    loss_is_finite: bool,
) -> Cause:
    """Look for the cause: in the weights, then in the forward pass, then in the backward pass.

    Args:
        model: The model, with the weights that it had in the forward pass.
        parameters: Its parameters.
        bad_weights: Which of them held NaN or infinity in the forward pass.
        bad_gradients: Which of their gradients do.
        batch: The batch; None if it is unknown, or the weights have changed since.
        loss_is_finite: Whether the loss is, if it is known.

    Returns:
        The cause.
    """
    cause = bad_weight(parameters, bad_weights)
    if cause is not None:
        return cause
    cause, why_not = _in_forward(model, batch)
    if cause is not None:
        return cause
    if loss_is_finite:
        return _in_backward(parameters, bad_gradients, why_not)
    if why_not is None:
        text = "the model's outputs are finite, but the loss computed from them is not"
        return Cause(where="forward", module="", text=text)
    text = f"the loss was not finite; the forward pass could not be repeated, since {why_not}"
    return Cause(where="forward", text=text)


def _in_backward(
    parameters: Sequence[ParameterInfo], bad: NDArray[np.bool_], why_not: str | None
) -> Cause:
    """Blame the gradient that is the first to be bad on the way from the loss to the input."""
    names = [info for info, flag in zip(parameters, bad, strict=True) if flag]
    if not names:
        return Cause(where="unknown", text="weights, gradients and the forward pass are finite")
    last = max(names, key=lambda info: info.depth)
    forward = (
        "the forward pass is finite"
        if why_not is None
        else f"the forward pass could not be repeated, since {why_not}"
    )
    return Cause(
        where="backward",
        module=last.module,
        parameter=last.name,
        text=f"{forward}, and on the way back from the loss the first gradient that is not "
        f"finite is that of {last.name}",
    )


def _in_forward(model: nn.Module, batch: Batch | None) -> tuple[Cause | None, str | None]:
    """Blame the first module whose inputs are finite and whose output is not.

    Returns:
        The cause, None if all outputs are finite; and why the pass could not be repeated, None if
        it was.
    """
    if batch is None:
        return None, "its weights or its batch are not there any more"
    why_not = _obstacle(model, batch)
    if why_not is not None:
        return None, why_not
    try:
        found = do_apart(lambda: _repeat(model, batch))
    except (RunError, OSError) as error:  # such as memory
        return None, message_of(error)
    if not found["same"]:
        return None, "it did not give the same result once more"
    if found["path"] is not None:
        path = str(found["path"])
        return Cause(
            where="forward",
            module=path,
            text=f"the first module that turned finite inputs into an output that is not finite "
            f"is {path or 'the model itself'} ({found['kind']})",
        ), None
    if _is_bad((batch.inputs.arguments, batch.inputs.keywords)):
        return Cause(where="forward", module="", text="the batch itself held NaN or infinity"), None
    return None, None


def _obstacle(model: nn.Module, batch: Batch) -> str | None:
    """Return why a batch cannot be run again without a risk for the training, if so."""
    held = [*model.parameters(), *model.buffers()]
    elsewhere = next((tensor.device.type for tensor in held if tensor.device.type != "cpu"), None)
    if elsewhere is not None:
        return f"that is done in a forked process, which cannot use the model's device, {elsewhere}"
    if distributed.is_initialized() and distributed.get_world_size() > 1:
        return "there are several processes, which could only do that together"
    return batch.inputs.obstacle()


def _repeat(model: nn.Module, batch: Batch) -> dict[str, Any]:
    """Run a batch again, in a process of its own, and find the first module that breaks it."""
    found: list[str] = []
    paths = {module: path for path, module in model.named_modules()}

    def watcher(
        module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any
    ) -> None:
        if not found and _is_bad(output) and not _is_bad((arguments, keywords)):
            found.append(paths[module])

    results = replay(model, batch, watcher)
    return {
        "same": _alike(results, batch.results),
        "path": found[0] if found else None,
        "kind": type(model.get_submodule(found[0])).__name__ if found else None,
    }


def _alike(left: Sequence[Tensor], right: Sequence[Tensor]) -> bool:
    """Check whether the numbers that two passes gave are the same, but for rounding."""
    # Loose, since kernels may sum in another order; a pass with other random numbers is far off.
    return len(left) == len(right) and all(
        torch.allclose(a.double(), b.double(), rtol=1e-2, atol=1e-6, equal_nan=True)
        for a, b in zip(left, right, strict=True)
        if not a.is_complex()
    )


def _is_bad(value: Any) -> bool:
    return any(_is_bad_tensor(tensor) for tensor in tensors(value))


def _is_bad_tensor(tensor: Tensor) -> bool:
    if isinstance(tensor, DTensor):
        tensor = tensor.to_local()
    if not tensor.is_floating_point() or bool(tensor.isfinite().all()):
        return False
    # A mask that is added to scores is infinite on purpose.
    return not bool(((tensor == 0) | (tensor == -torch.inf)).all())
