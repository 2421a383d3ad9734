"""What each block of a model is given, found without running any of them."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from backlight.data.batches import Batch
from backlight.errors import UnsupportedSiteError
from backlight.models.passing_blocks import PassingBlocks
from backlight.models.subject import Subject

_STREAM = "hidden_states"


class _AllGiven(Exception):  # noqa: N818 - it is no error
    """Ends a forward pass at the last block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a block is given besides the residual stream.

    Attributes:
        args: Other positional arguments; None if the stream comes as a keyword argument.
        kwargs: Other keyword arguments (masks, rotary tables, ...), as the model made them.
    """

    args: tuple[Any, ...] | None
    kwargs: Mapping[str, Any]

    def call(self, block: Any, stream: Tensor) -> Any:
        """Run a block on a stream.

        Args:
            block: The block.
            stream: The residual stream; some blocks write into it.

        Returns:
            What the block returns.
        """
        if self.args is None:
            return block(**self.kwargs, **{_STREAM: stream})
        return block(stream, *self.args, **self.kwargs)


@final
@dataclass(slots=True)
class Entrance:
    """The pass up to the first block, and what the blocks are given.

    Attributes:
        subject: The model.
        blocks: Its blocks.
        entries: What each was given so far.
        stream: The stream before the first block, with the graph that leads there.
    """

    subject: Subject
    blocks: PassingBlocks
    entries: list[Entry]
    stream: Tensor | None = None

    def stand_in(self, layer: int, /, *args: Any, **kwargs: Any) -> Any:
        """Note what a block is given, and hand on the stream as it is."""
        name = self.subject.name
        stream: Tensor = args[0] if args else kwargs[_STREAM]
        if layer != len(self.entries):
            raise UnsupportedSiteError(
                f"Block {layer} of {name} runs more than once in one forward pass, or not in its "
                "turn, so it cannot be measured block by block."
            )
        if self.stream is None:
            self.stream = stream
        elif stream is not self.stream:
            raise UnsupportedSiteError(
                f"Block {layer} of {name} is not given what the one before it gave, so it cannot "
                "be measured block by block."
            )
        others = {key: each for key, each in kwargs.items() if args or key != _STREAM}
        if any(each.requires_grad for each in _tensors((args[1:], others))):
            raise UnsupportedSiteError(
                f"Block {layer} of {name} is given more than the residual stream, and a gradient "
                "would have to pass it, so it cannot be measured block by block."
            )
        self.entries.append(Entry(args=args[1:] if args else None, kwargs=others))
        if len(self.entries) == len(self.blocks.modules):
            raise _AllGiven
        return self.blocks.output(stream)


def enter(subject: Subject, blocks: PassingBlocks, batch: Batch) -> tuple[Tensor, Sequence[Entry]]:
    """Run a model up to its first block, and find what every block is given.

    Args:
        subject: The model.
        blocks: Its blocks.
        batch: Some passages.

    Returns:
        The residual stream before the first block, and what each block is given besides.

    Raises:
        UnsupportedSiteError: If the stream does not go from block to block as it is.
    """
    entrance = Entrance(subject, blocks, [])
    with suppress(_AllGiven), blocks.replaced(entrance.stand_in), torch.enable_grad():
        subject.forward(batch.input_ids)
    if entrance.stream is None or len(entrance.entries) < len(blocks.modules):
        raise UnsupportedSiteError(
            f"Not every block of {subject.name} runs in a forward pass, so it cannot be measured "
            "block by block."
        )
    return entrance.stream, entrance.entries


def leave(subject: Subject, blocks: PassingBlocks, batch: Batch, stream: Tensor) -> Tensor:
    """Run what follows a model's last block.

    Args:
        subject: The model.
        blocks: Its blocks.
        batch: Some passages.
        stream: The residual stream behind the last block.

    Returns:
        What the model gives.
    """
    last = len(blocks.modules) - 1

    def stand_in(layer: int, /, *args: Any, **kwargs: Any) -> Any:
        given: Tensor = args[0] if args else kwargs[_STREAM]
        return blocks.output(stream if layer == last else given)

    with blocks.replaced(stand_in):
        return subject.forward(batch.input_ids)


def _tensors(value: Any) -> Generator[Tensor, None, None]:
    """Go through all tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)
