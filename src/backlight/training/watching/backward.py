"""The end of a backward pass, when all gradients of the parameters are there."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

__all__ = ["BackwardEnd"]


class BackwardEnd:
    """Calls back once at the end of each backward pass that leaves gradients in parameters.

    The first parameter that gets its gradient asks the engine to call back when the pass is over,
    as ``DistributedDataParallel`` does; the hooks of the others only see that this was done.
    """

    def __init__(
        self, parameters: Sequence[Tensor], ended: Callable[[], None], *, behind_reduction: bool
    ) -> None:
        """Register the hooks.

        Args:
            parameters: Those that may get a gradient.
            ended: What is called.
            behind_reduction: Let the callbacks that others asked for in the same pass go first.
        """
        self._ended = ended
        self._behind_reduction = behind_reduction
        self._asked = False
        self._handles: list[RemovableHandle] = [
            parameter.register_post_accumulate_grad_hook(self._accumulated)
            for parameter in parameters
            if parameter.requires_grad
        ]

    def forget(self) -> None:
        """Forget a pass that did not come to its end."""
        self._asked = False

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _accumulated(self, parameter: Tensor) -> None:
        del parameter
        if not self._asked:
            self._asked = True
            _at_end(self._behind_others if self._behind_reduction else self._end)

    def _behind_others(self) -> None:
        _at_end(self._end)

    def _end(self) -> None:
        self._asked = False
        self._ended()


def _at_end(callback: Callable[[], None]) -> None:
    engine = cast("Any", torch.autograd.Variable)._execution_engine
    engine.queue_callback(callback)
