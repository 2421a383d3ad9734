"""The norms of each process's own gradients, before data parallelism averages them."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, distributed

from backlight.training.guarding.guard import attempt, message_of, warn_once
from backlight.training.guarding.hooks import Hooks
from backlight.training.log.lines import encode_line, open_lines


def rank() -> int:
    """Return the number of this process, 0 if there is only one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


class LocalNorms:
    """Measures gradients as they arrive in the parameters, which is before the reduction.

    Each process writes a file of its own (``rank_0001.jsonl``): nothing is sent, so it does not
    matter if another process does not watch.
    """

    def __init__(self, path: Path | None, hooks: Hooks, due: Callable[[], bool]) -> None:
        """Begin without parameters.

        Args:
            path: The run directory; None if nothing is written.
            hooks: Those of the watch.
            due: Tells whether the step that is under way is measured.
        """
        self._path = path
        self._hooks = hooks
        self._due = due
        self._norms: dict[int, Tensor] = {}
        self._followed: set[int] = set()
        self._written = False

    def follow(self, parameters: Sequence[Tensor]) -> None:
        """Register the hooks of the parameters that have none and may get a gradient."""
        for place, parameter in enumerate(parameters):
            if parameter.requires_grad and id(parameter) not in self._followed:
                self._followed.add(id(parameter))
                register = parameter.register_post_accumulate_grad_hook
                self._hooks.add(register, self._hook(place))

    def write(self, step: int, scale: float) -> None:
        """Write the norm of a measured step, and begin anew.

        Args:
            step: The step.
            scale: What the gradients were multiplied by.
        """
        norm = math.hypot(*(float(norm) for norm in self._norms.values())) / scale
        self._norms.clear()
        if self._path is not None:
            error = attempt(partial(self._write, self._path, {"step": step, "norm": norm}))
            if error is not None:
                self._path = None
                warn_once(f"The norms of rank {rank()} cannot be written ({message_of(error)}).")

    def _write(self, path: Path, record: dict[str, object]) -> None:
        if not self._written:  # later it is not made again: somebody took it away
            path.mkdir(parents=True, exist_ok=True)
        self._written = True
        with open_lines(path / f"rank_{rank():04d}.jsonl") as file:
            file.write(encode_line(record))

    def _hook(self, place: int) -> Callable[[Tensor], None]:
        def measure(parameter: Tensor) -> None:
            if parameter.grad is not None and self._due():
                wide = torch.float32 if parameter.dtype.itemsize < 4 else parameter.dtype
                self._norms[place] = torch.linalg.vector_norm(parameter.grad.detach(), dtype=wide)

        return measure
