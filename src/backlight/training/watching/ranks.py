"""The norms of each process's own gradients, before data parallelism averages them."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, distributed
from torch.utils.hooks import RemovableHandle

from backlight.training.history.lines import encode_line
from backlight.training.outlets.complaint import complain

__all__ = ["LocalNorms", "rank"]


def rank() -> int:
    """Give the number of this process, 0 if there is only one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


class LocalNorms:
    """Measures gradients as they arrive in the parameters, which is before the reduction.

    Each process writes a file of its own (``rank_0001.jsonl``): nothing is sent, so it does not
    matter if another process does not watch.
    """

    def __init__(
        self, path: Path | None, parameters: Sequence[Tensor], due: Callable[[], bool]
    ) -> None:
        """Register the hooks.

        Args:
            path: The run directory; None if nothing is written.
            parameters: Those that may get a gradient.
            due: Tells whether the step that is under way is measured.
        """
        self._file = None if path is None else path / f"rank_{rank():04d}.jsonl"
        self._due = due
        self._norms: dict[int, Tensor] = {}
        self._handles: list[RemovableHandle] = [
            parameter.register_post_accumulate_grad_hook(self._hook(place))
            for place, parameter in enumerate(parameters)
            if parameter.requires_grad
        ]

    def write(self, step: int, scale: float) -> None:
        """Write the norm of a measured step, and begin anew.

        Args:
            step: The step.
            scale: What the gradients were multiplied by.
        """
        norm = math.hypot(*(float(norm) for norm in self._norms.values())) / scale
        self._norms.clear()
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(encode_line({"step": step, "norm": norm}))
        except OSError as error:
            self._file = None
            complain(f"The norms of rank {rank()} cannot be written ({error}).")

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _hook(self, place: int) -> Callable[[Tensor], None]:
        def measure(parameter: Tensor) -> None:
            if parameter.grad is not None and self._due():
                wide = torch.float32 if parameter.dtype.itemsize < 4 else parameter.dtype
                self._norms[place] = torch.linalg.vector_norm(parameter.grad.detach(), dtype=wide)

        return measure
