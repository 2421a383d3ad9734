"""A gradient scaler that is listened to: its factor, and the steps that it leaves out."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch.optim import Optimizer

__all__ = ["ScalerWatch"]


class ScalerWatch:
    """Listens to a ``torch.amp.GradScaler``, or to none."""

    def __init__(
        self,
        scaler: torch.amp.GradScaler | None,
        optimizer: Optimizer,
        *,
        num_steps: Callable[[], int],
        skipped: Callable[[], None],
    ) -> None:
        """Put a listener around the scaler's ``step``.

        Args:
            scaler: The scaler; None for training without one.
            optimizer: The optimizer whose steps are counted.
            num_steps: How many steps there were so far.
            skipped: Called when the scaler left a step out.
        """
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self._optimizer = optimizer
        if self._scaler is None:
            return
        step = self._scaler.step

        def listening(chosen: Optimizer, *arguments: Any, **keywords: Any) -> float | None:
            before = num_steps()
            result = step(chosen, *arguments, **keywords)
            if chosen is optimizer and num_steps() == before:
                skipped()
            return result

        cast("Any", self._scaler).step = listening

    @property
    def is_on(self) -> bool:
        """Whether gradients are scaled."""
        return self._scaler is not None

    def scale(self) -> float:
        """Give what gradients are multiplied by until they are unscaled; 1 without a scaler."""
        return 1.0 if self._scaler is None else float(self._scaler.get_scale())

    def left_to_optimizer(self) -> float:
        """Give the factor that gradients still have at a step: 1, except with ``fused=True``."""
        factor = getattr(self._optimizer, "grad_scale", None)
        return 1.0 if factor is None else float(factor)

    def optimizer_skips(self) -> bool:
        """Tell whether an optimizer that unscales by itself is about to leave this step out."""
        found = getattr(self._optimizer, "found_inf", None)
        return found is not None and float(found) > 0

    def remove(self) -> None:
        """Take the listener away."""
        if self._scaler is not None:
            cast("Any", self._scaler).__dict__.pop("step", None)
