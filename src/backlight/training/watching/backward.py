"""The end of a backward pass, when all gradients of the parameters are there."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from backlight.training.guarding.hooks import Hook, Hooks


class BackwardEnd:
    """Calls back once at the end of each backward pass that leaves gradients in parameters.

    The first parameter that gets its gradient asks the engine to call back when the pass is over,
    as ``DistributedDataParallel`` does; the hooks of the others only see that this was done.
    """

    def __init__(self, hooks: Hooks, ended: Callable[[], None], *, behind_reduction: bool) -> None:
        """Begin without parameters.

        Args:
            hooks: Those of the watch.
            ended: What is called.
            behind_reduction: Let the callbacks that others asked for in the same pass go first.
        """
        self._hooks = hooks
        self._ended = ended
        self._behind_reduction = behind_reduction
        self._asked: list[bool] = []  # holds something behind the first parameter of a pass
        self._followed: dict[int, RemovableHandle] = {}

    def follow(self, parameters: Sequence[Tensor]) -> None:
        """Register the hooks of those parameters that may get a gradient and have no hook."""
        members = {id(parameter) for parameter in parameters}
        for number in [each for each in self._followed if each not in members]:
            self._hooks.drop(self._followed.pop(number))
        for parameter in parameters:
            if parameter.requires_grad and id(parameter) not in self._followed:
                register = parameter.register_post_accumulate_grad_hook
                self._followed[id(parameter)] = self._hooks.add(
                    register, self._accumulated, unless=self._asked
                )

    def forget(self) -> None:
        """Forget a pass that did not come to its end."""
        self._asked.clear()

    # The engine runs callbacks in the order in which they were asked for. The reduction of data
    # parallelism asks for its own in the same pass, perhaps after ours: a callback that asks for
    # another one comes behind it.
    def _accumulated(self, parameter: Tensor) -> None:
        del parameter
        self._asked.append(True)
        _at_end(Hook(self._hooks, self._behind_others if self._behind_reduction else self._end))

    def _behind_others(self) -> None:
        _at_end(Hook(self._hooks, self._end))

    def _end(self) -> None:
        self._asked.clear()
        self._ended()


def under_way() -> bool:
    """Check whether a backward pass is under way in this thread."""
    return cast("Any", torch)._C._current_graph_task_id() != -1


def _at_end(callback: Callable[[], None]) -> None:
    engine = cast("Any", torch.autograd.Variable)._execution_engine
    engine.queue_callback(callback)
