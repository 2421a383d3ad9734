"""What ``backlight.watch`` is given: a model, and one optimizer or several."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import nn
from torch.optim import Optimizer

from backlight.errors import ConfigError, ModelError


def checked_model(model: object) -> nn.Module:
    """Refuse what is no model.

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
    """Take off what other libraries put around optimizers: their own steps have the hooks.

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
