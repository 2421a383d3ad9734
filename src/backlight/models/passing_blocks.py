"""The blocks of a model that is run one block at a time, and what holds their weights meanwhile."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn


def _always(layer: int) -> AbstractContextManager[None]:
    del layer
    return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class PassingBlocks:
    """Blocks of which one at a time is run, for several batches.

    Attributes:
        modules: The blocks in their order.
        num_members: They return tuples of so many members, the first of which is the residual
            stream; None if they return it alone.
        holding: Keeps the weights of a block in memory for as long as the context lasts; by default
            they are there all the time.
        group_bytes: How much may be kept of the batches that go through the blocks together; it is
            always at least one.
    """

    modules: tuple[nn.Module, ...]
    num_members: int | None
    holding: Callable[[int], AbstractContextManager[None]] = _always
    group_bytes: int = 0

    def output(self, stream: Tensor) -> Tensor | tuple[Tensor | None, ...]:
        """Return a residual stream as a block returns it."""
        return stream if self.num_members is None else (stream, *[None] * (self.num_members - 1))

    @contextmanager
    def replaced(self, stand_in: Callable[..., Any]) -> Generator[None, None, None]:
        """Let a function run in the place of all blocks while the context lasts.

        Args:
            stand_in: Is given the block's number, and what the block would be given.

        Yields:
            Nothing; the blocks are whole again at the end, also if the body fails.
        """
        with ExitStack() as stack:
            for layer, block in enumerate(self.modules):
                stack.callback(_put_back, block, vars(block).get("forward"))
                vars(block)["forward"] = partial(stand_in, layer)
            yield


def _put_back(block: nn.Module, before: Callable[..., Any] | None) -> None:
    if before is None:
        del vars(block)["forward"]
    else:
        vars(block)["forward"] = before
