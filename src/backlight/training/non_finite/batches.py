"""The last batch that a model was trained on, to run it once more."""

import random
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from backlight.models.versions import is_at_least
from backlight.training.non_finite.inputs import Inputs, tensors

Watcher = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], None]
"""Is shown a module, what it was called with, and what it returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a model was called with, and the state of the world at that moment.

    Attributes:
        step: The optimizer step that it was part of.
        inputs: What the model was called with.
        training: The model was in training mode.
        random: The state of the CPU's generator, and of the model's device if it has its own.
        others: The states of Python's and of numpy's generator.
        autocast: For each kind of device, whether autocast was on, and its type.
        results: The single numbers among what the model returned, once it did.
    """

    step: int
    inputs: Inputs
    training: bool
    random: Mapping[str, Tensor]
    others: tuple[Any, Any]
    autocast: Mapping[str, tuple[bool, torch.dtype]]
    results: list[Tensor] = field(default_factory=list[Tensor])


def remember(
    model: nn.Module, device: torch.device, arguments: Any, keywords: Any, step: int
) -> Batch:
    """Keep what a model is called with: tensors by reference, what holds them as a copy."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    kinds = {"cpu", device.type} - {"meta"}
    return Batch(
        step=step,
        inputs=Inputs.of(arguments, keywords),
        training=model.training,
        random=states,
        others=(random.getstate(), np.random.get_state()),
        autocast={
            kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
            for kind in kinds
            if torch.amp.is_autocast_available(kind)
        },
    )


def replay(model: nn.Module, batch: Batch, watcher: Watcher) -> list[Tensor]:
    """Run a batch forward again, without a graph, as it was: generators, mode, autocast, dropout.

    This changes whatever a forward pass changes, so it is for a process of its own.

    Args:
        model: The model.
        batch: What it was called with, on the CPU.
        watcher: Is shown each module in the order in which they come to their end.

    Returns:
        The single numbers among what the model returned.
    """

    def hook(module: nn.Module, arguments: Any, keywords: Any, output: Any) -> None:
        watcher(module, arguments, keywords, output)

    torch.set_rng_state(batch.random["cpu"])
    random.setstate(batch.others[0])
    np.random.set_state(batch.others[1])
    model.train(batch.training) if model.training != batch.training else None
    for module in model.modules():
        cast("Any", module)._compiled_call_impl = None  # its hooks would not be called
        module.register_forward_hook(hook, with_kwargs=True)
    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules and is_at_least("2.6", "torch"):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(torch.no_grad())
        for kind, (enabled, dtype) in batch.autocast.items():
            stack.enter_context(torch.autocast(kind, dtype=dtype, enabled=enabled))
        return scalars(model(*batch.inputs.arguments, **batch.inputs.keywords))


def scalars(output: Any) -> list[Tensor]:
    """Find the single numbers among what a model returned, without their graph."""
    return [tensor.detach() for tensor in tensors(output) if tensor.numel() == 1]
