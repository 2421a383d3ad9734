"""All numbers of one measured optimizer step, from the backward pass to the changed weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.training.measuring.statistics import NEAR_ZERO, fused, gradient_statistics, norms

__all__ = ["Measurement"]

_WITH_UNIT = ("mean", "std", "max_abs", "norm", "smallest")

_Numbers = NDArray[np.float64]


class Measurement:
    """Measures one step: ``gradients`` as often as there are micro-batches, then the others once.

    Attributes:
        norm: The norm of the raw gradient; NaN until it is known.
        clipped_norm: The norm as the optimizer got it; NaN until it is known.
        statistics: By name, one number for each parameter with a gradient.
        present: The places of these parameters.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._weights = weights
        self.reset()

    def reset(self) -> None:
        """Forget what was measured."""
        self.norm = float("nan")
        self.clipped_norm = float("nan")
        self.present: list[int] = []
        self.statistics: dict[str, _Numbers] = {}
        self._before: list[Tensor] = []

    def gradients(self, scale: float) -> None:
        """Measure the gradients that are there; those of an earlier micro-batch are replaced.

        Args:
            scale: What they were multiplied by.
        """
        self.present = [n for n, weight in enumerate(self._weights) if weight.grad is not None]
        raw = gradient_statistics(self._gradients(), near_zero=NEAR_ZERO * scale)
        self.statistics = {
            name: values / scale if name in _WITH_UNIT else values for name, values in raw.items()
        }
        self.norm = _total(self.statistics["norm"])

    def before_update(self, factor: float) -> None:
        """Measure what the optimizer gets, and keep a copy of the weights.

        Args:
            factor: What the gradients are still multiplied by.
        """
        if not self.statistics:  # gradients that no backward pass has left here
            self.gradients(factor)
        self.clipped_norm = _total(norms(self._gradients())) / factor
        self._before = [self._weights[place].detach().clone() for place in self.present]

    @torch.no_grad()
    def after_update(self) -> None:
        """Measure the weights, and how far they have moved."""
        after = [self._weights[place].detach() for place in self.present]
        weight_norms = norms(after)
        moved = np.zeros(len(after))
        if self._before:
            fused._foreach_sub_(self._before, after)
            moved = norms(self._before)
        self._before = []
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(moved == 0, 0.0, moved / weight_norms)
        self.statistics |= {"weight_norm": weight_norms, "update_ratio": ratio}

    @property
    def median_update_ratio(self) -> float:
        """The median over parameters; NaN if none has a gradient."""
        ratios = self.statistics.get("update_ratio", np.zeros(0))
        return float(np.median(ratios)) if len(ratios) else float("nan")

    def record(self) -> dict[str, Any]:
        """Give the numbers as a log has them: null for a parameter without a gradient."""
        tables: dict[str, list[float | None]] = {}
        for name, values in self.statistics.items():
            row: list[float | None] = [None] * len(self._weights)
            for place, value in zip(self.present, values.tolist(), strict=True):
                row[place] = value
            tables[name] = row
        return {"norm": self.norm, "clipped_norm": self.clipped_norm, "parameters": tables}

    def _gradients(self) -> list[Tensor]:
        gradients = [weight.grad for weight in self._weights]
        return [gradient.detach() for gradient in gradients if gradient is not None]


def _total(values: _Numbers) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.sum(values**2)))
