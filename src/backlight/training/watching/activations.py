"""The gradient at the outputs of the repeated blocks, while a training run goes on."""

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from backlight.errors import ModelError
from backlight.training.guarding.hooks import Hooks


class ActivationGradients:
    """Measures the norm of the gradient at each block's output, at the steps that are asked for."""

    def __init__(
        self, blocks: Mapping[str, nn.Module], hooks: Hooks, due: Callable[[], bool]
    ) -> None:
        """Register the hooks.

        Args:
            blocks: The blocks by their paths.
            hooks: Those of the watch.
            due: Tells whether the step that is under way is measured.

        Raises:
            ModelError: If there are no blocks.
        """
        if not blocks:
            raise ModelError(
                "This model has no list of blocks (nn.ModuleList), so there are no layers whose "
                "outputs could be watched; leave activations out."
            )
        self._hooks = hooks
        self._due = due
        self._norms: dict[str, list[Tensor]] = {path: [] for path in blocks}
        self._done: dict[str, float] = {}
        for path, block in blocks.items():
            hooks.add(block.register_forward_hook, self._hook(path))

    def set_aside(self, scale: float) -> None:
        """Count the norms since the last time as those of the step that is under way.

        Args:
            scale: What the gradients were multiplied by.
        """
        for path, norms in self._norms.items():
            if norms:
                found = math.hypot(*(float(norm) for norm in norms)) / scale
                self._done[path] = math.hypot(self._done.get(path, 0.0), found)
                norms.clear()

    def take(self) -> dict[str, float | None]:
        """Hand out the norms of the step, over all its micro-batches.

        Returns:
            The norm for each block; None where no gradient came.
        """
        found = {path: self._done.get(path) for path in self._norms}
        self._done = {}
        return found

    def _hook(self, path: str) -> Callable[..., None]:
        def measure(gradient: Tensor) -> None:
            wide = torch.float32 if gradient.dtype.itemsize < 4 else gradient.dtype
            self._norms[path].append(torch.linalg.vector_norm(gradient.detach(), dtype=wide))

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            del module, inputs
            tensor = cast("tuple[Any, ...]", output)[0] if isinstance(output, tuple) else output
            if isinstance(tensor, Tensor) and tensor.requires_grad and self._due():
                self._hooks.once(tensor, measure)

        return hook
