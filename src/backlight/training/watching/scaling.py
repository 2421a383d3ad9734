"""A gradient scaler that is listened to: its factor, and the steps that it leaves out."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch.optim import Optimizer


class ScalerListener:
    """Stands in for a scaler's ``step``; in a copy of the scaler there is the plain one again."""

    def __init__(
        self,
        scaler: torch.amp.GradScaler,
        *,
        num_steps: Callable[[Optimizer], int | None],
        skipped: Callable[[Optimizer], None],
    ) -> None:
        """Put the listener around the scaler's ``step``.

        Args:
            scaler: The scaler.
            num_steps: How often an optimizer stepped so far; None for one that is not watched.
            skipped: Called when the scaler left a step out.
        """
        self._scaler = scaler
        self._step = scaler.step
        own = cast("Any", scaler).__dict__
        self._before = {"step": own["step"]} if "step" in own else {}  # another watch's, it may be
        self._num_steps: Callable[[Optimizer], int | None] | None = num_steps
        self._skipped = skipped
        own["step"] = self

    def __call__(self, optimizer: Optimizer, *words: Any, **names: Any) -> float | None:
        """Step as the scaler does, and see whether the optimizer has stepped."""
        count = self._num_steps
        before = None if count is None else count(optimizer)
        result = self._step(optimizer, *words, **names)
        if count is not None and before is not None and count(optimizer) == before:
            self._skipped(optimizer)
        return result

    def __reduce__(self) -> Any:
        # By the standard library and torch alone, so that it can be read without backlight.
        return getattr, (self._scaler, "step")

    def scale(self) -> float:
        """Return what gradients are multiplied by until they are unscaled."""
        return float(self._scaler.get_scale())

    def remove(self) -> None:
        """Take the listener away, or silence it where another one has been put around it."""
        self._num_steps = None
        attributes = cast("Any", self._scaler).__dict__
        if attributes.get("step") is self:
            del attributes["step"]
            attributes.update(self._before)


def left_to_optimizer(optimizer: Optimizer) -> float:
    """Return the factor that gradients still have at a step: 1, except with ``fused=True``."""
    factor = getattr(optimizer, "grad_scale", None)
    return 1.0 if factor is None else float(factor)


def optimizer_skips(optimizer: Optimizer) -> bool:
    """Check whether an optimizer that unscales by itself is about to leave this step out."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and float(found) > 0
