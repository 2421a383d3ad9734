"""What ``backlight.watch`` is given: a model, one optimizer or several, and options."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from backlight.errors import ConfigError, ModelError
from backlight.training.watching.writers import Sink


class WatchOptions(TypedDict, total=False):
    """The options of ``backlight.watch``, which says what they mean."""

    schedule: int | Callable[[int], bool]
    scaler: torch.amp.GradScaler | None
    sinks: Iterable[Sink]
    loss_of: Callable[[Any], Tensor | float | None] | None
    activations: bool
    snapshot: bool
    status: bool
    steps_done: int


def checked_model(model: object) -> nn.Module:
    """Check that a model can be watched.

    Returns:
        The model.

    Raises:
        ModelError: If it is not a ``torch.nn.Module``, or one that is scripted.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"A {type(model).__name__} is no torch.nn.Module; give the model that is trained."
        )
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise ModelError(
            "This model is, or holds, a scripted module, which runs outside of Python where it has "
            "no hooks; train and watch the model that it was made from."
        )
    return model


def unwrapped(given: object) -> list[Optimizer]:
    """Remove what other libraries put around optimizers: their own steps have the hooks.

    Args:
        given: One, or several.

    Returns:
        All of them, each once.

    Raises:
        ConfigError: If there is none, or something else.
    """
    found: list[Optimizer] = []
    several = isinstance(given, Iterable) and not isinstance(given, (str, Mapping))
    for each in cast("Iterable[object]", given) if several else [given]:
        optimizer = _inner(each)
        if not isinstance(optimizer, Optimizer):
            raise ConfigError(
                f"A {type(each).__name__} is no torch.optim.Optimizer; give the optimizer that "
                "takes the steps, or a list of them."
            )
        if not any(optimizer is other for other in found):
            found.append(optimizer)
    if not found:
        raise ConfigError("There is no optimizer in the list; give at least one.")
    return found


def _inner(optimizer: Any) -> Any:
    inner = getattr(optimizer, "optimizer", None)
    return _inner(inner) if isinstance(inner, Optimizer) else optimizer
