"""How much memory a model's graph takes, counted in a pass that keeps one block of it at most."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from backlight.errors import ModelError
from backlight.models.backward import rooted
from backlight.models.lending import borrowed
from backlight.models.passing_blocks import PassingBlocks
from backlight.models.subject import Subject

_CHUNK = 1 << 23  # logits that are held at a time: see ``objectives.objective``
_BYTES_PER_LOGIT = 16  # the logits, their exponentials and the difference, some in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSize:
    """What is kept of a batch for the way back, in bytes.

    Attributes:
        all: Of the whole graph.
        block: Of the block that keeps most.
        head: What the loss takes, whose logits are never held all at once.
    """

    all: int
    block: int
    head: int


@final
class _Count:
    """Counts what a graph keeps besides weights; what is kept twice counts once within a block."""

    def __init__(self) -> None:
        self.finished: list[int] = []
        self._kept: dict[int, Tensor] = {}

    def pack(self, tensor: Tensor) -> None:
        self._kept[tensor.untyped_storage().data_ptr()] = tensor

    def unpack(self, nothing: object) -> Tensor:
        del nothing
        raise AssertionError("nothing is walked back")

    def close(self, weights: Iterable[Tensor]) -> None:
        """Count what was kept since the last call, and let go of it."""
        for each in weights:
            if not each.is_meta:
                self._kept.pop(each.untyped_storage().data_ptr(), None)
        self.finished.append(sum(each.untyped_storage().nbytes() for each in self._kept.values()))
        self._kept.clear()


def graph_size(subject: Subject, blocks: PassingBlocks, batch: int, length: int) -> GraphSize:
    """Count what a batch's graph would take.

    One forward pass is run; its graph is dropped block by block.

    Args:
        subject: The model.
        blocks: Its blocks; none if they are not known, and then the whole graph is kept.
        batch: How many passages.
        length: How many tokens each has.

    Returns:
        The bytes.
    """
    count, head = _Count(), subject.head
    tokens = torch.ones(batch, length, dtype=torch.long, device=subject.device)
    with ExitStack() as stack:
        stack.enter_context(borrowed(subject.model))
        stack.enter_context(torch.enable_grad())
        embedding = _embedding(subject)
        stack.callback(embedding.register_forward_hook(_root).remove)
        for layer, block in enumerate(blocks.modules):
            _count_block(stack, count, block, blocks.holding(layer))
        stack.enter_context(saved_tensors_hooks(count.pack, count.unpack))
        subject.forward(tokens)
        count.close(subject.model.parameters())
    vocabulary = 0 if head is None else head.weight.shape[0]
    logits = min(batch * length * vocabulary, _CHUNK)
    return GraphSize(
        all=sum(count.finished), block=max(count.finished), head=logits * _BYTES_PER_LOGIT
    )


def _count_block(
    stack: ExitStack, count: _Count, block: nn.Module, holding: AbstractContextManager[None]
) -> None:
    """Count by itself what a block keeps; its weights are there for as long."""

    def begin(*_: object) -> None:
        holding.__enter__()

    def end(*_: object) -> None:
        count.close(block.parameters())
        holding.__exit__(None, None, None)

    stack.callback(block.register_forward_pre_hook(begin).remove)
    stack.callback(block.register_forward_hook(end).remove)


def _embedding(subject: Subject) -> nn.Module:
    for module in subject.model.modules():
        if isinstance(module, nn.Embedding):
            return module
    raise ModelError(
        f"{subject.name} has no embedding (nn.Embedding), so it cannot be told how much memory a "
        "pass takes. Leave --memory out."
    )


def _root(module: nn.Module, given: Any, output: Tensor) -> Tensor:
    del module, given
    return rooted(output)
