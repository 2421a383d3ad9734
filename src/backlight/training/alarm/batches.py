"""The last batch that a model was trained on, to run it once more."""

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["Batch", "remember", "replay"]

Watcher = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], None]
"""Is shown a module, what it was called with, and what it returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a model was called with, and the state of the world at that moment.

    Attributes:
        step: The optimizer step that it was part of.
        arguments: The positional inputs; references, not copies.
        keywords: The named inputs.
        training: The model was in training mode.
        random: The state of the CPU's generator, and of the model's device if it has its own.
        autocast: For each kind of device, whether autocast was on, and its type.
    """

    step: int
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    training: bool
    random: Mapping[str, Tensor]
    autocast: Mapping[str, tuple[bool, torch.dtype]]


def remember(
    model: nn.Module, device: torch.device, arguments: Any, keywords: Any, step: int
) -> Batch:
    """Keep references to what a model is called with."""
    random = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(device)
    kinds = {"cpu", device.type} - {"meta"}
    return Batch(
        step=step,
        arguments=arguments,
        keywords=keywords,
        training=model.training,
        random=random,
        autocast={
            kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
            for kind in kinds
            if torch.amp.is_autocast_available(kind)
        },
    )


def replay(model: nn.Module, batch: Batch, device: torch.device, watcher: Watcher) -> None:
    """Run a batch forward again, without a graph, and leave no trace of it.

    The generators, the mode, autocast, and so dropout, are as they were; buffers, such as the
    averages of batch norms, are put back.

    Args:
        model: The model.
        batch: What it was called with.
        device: Where it is.
        watcher: Is shown each module in the order in which they come to their end.
    """

    def hook(module: nn.Module, arguments: Any, keywords: Any, output: Any) -> None:
        watcher(module, arguments, keywords, output)

    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(_restored(model, device))
        for kind, (enabled, dtype) in batch.autocast.items():
            stack.enter_context(torch.autocast(kind, dtype=dtype, enabled=enabled))
        for module in model.modules():
            handle = module.register_forward_hook(hook, with_kwargs=True)
            stack.callback(handle.remove)
        torch.set_rng_state(batch.random["cpu"])
        if "cuda" in batch.random:
            torch.cuda.set_rng_state(batch.random["cuda"], device)
        model.train(batch.training) if model.training != batch.training else None
        model(*batch.arguments, **batch.keywords)


@contextmanager
def _restored(model: nn.Module, device: torch.device) -> Generator[None, None, None]:
    """Put back buffers, modes and random states, whatever happens."""
    modes = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cast("Any", devices)):
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode
            for buffer, before in buffers:
                buffer.copy_(before)
