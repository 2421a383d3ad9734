"""All numbers of one measured optimizer step, from the backward pass to the changed weights."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.training.measuring.statistics import (
    NEAR_ZERO,
    dense,
    fused,
    gradient_statistics,
    has_norm,
    norms,
)

_WITH_UNIT = ("mean", "std", "max_abs", "norm", "smallest")

_Numbers = NDArray[np.float64]


class Measurement:
    """Measures one step: ``gradients`` after each backward pass, then the others once.

    With several optimizers a step is done in parts: ``before_update`` is called before each, and
    a part may have had a backward pass of its own (``adopt``).

    Attributes:
        statistics: By name, one number for each parameter; NaN without a gradient.
        present: The places of the parameters with a gradient.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        """Begin with nothing.

        Args:
            weights: The parameters; a list that may grow, but not within a step.
        """
        self._weights = weights
        self.present: list[int] = []
        self.statistics: dict[str, _Numbers] = {}
        self._clipped: dict[int, float] = {}
        self._before: dict[int, Tensor] = {}
        self._unknown: set[int] = set()

    @property
    def norm(self) -> float:
        """The norm of the raw gradient; NaN until it is known."""
        return _total(self._at("norm")) if self.statistics else math.nan

    @property
    def clipped_norm(self) -> float:
        """The norm as the optimizer got it; NaN until it is known."""
        if not self._clipped:
            return math.nan
        # Gradients that no optimizer of ours has used stand as they were measured.
        raw = zip(self.present, self._at("norm").tolist(), strict=True)
        return _total(np.array([self._clipped.get(place, norm) for place, norm in raw]))

    def gradients(self, scale: float) -> None:
        """Measure the gradients that are there; those of an earlier micro-batch are replaced.

        Args:
            scale: What they were multiplied by.
        """
        self.present = [
            n for n, weight in enumerate(self._weights) if _gradient(weight) is not None
        ]
        raw = gradient_statistics(self._gradients(self.present), near_zero=NEAR_ZERO * scale)
        self.statistics = {
            name: self._laid_out(values / scale if name in _WITH_UNIT else values)
            for name, values in raw.items()
        }

    def adopt(self, other: "Measurement", places: Collection[int]) -> None:
        """Take the gradients of some parameters from a later backward pass.

        Args:
            other: What was measured after that.
            places: Those that have not been changed in this step.
        """
        chosen = [place for place in other.present if place in places]
        for name, values in other.statistics.items():
            self.statistics.setdefault(name, np.full(len(self._weights), np.nan))
            self.statistics[name][chosen] = values[chosen]
        self.present = sorted({*self.present, *chosen})

    def before_update(self, places: Collection[int], factor: float) -> None:
        """Measure what an optimizer gets, and keep a copy of the weights.

        Args:
            places: The parameters that it changes.
            factor: What the gradients are still multiplied by.
        """
        if not self.statistics:  # gradients that no backward pass has left here
            self.gradients(factor)
        self.clip(places, factor)
        for place in self.present:
            if place not in self._before:
                self._before[place] = dense(self._weights[place].detach()).clone()

    def clip(self, places: Collection[int], factor: float) -> None:
        """Measure the gradients of some parameters as their optimizer gets them, once a step."""
        chosen = [
            place
            for place in self.present
            if place in places
            and place not in self._clipped
            and _gradient(self._weights[place]) is not None
        ]
        found = norms(self._gradients(chosen)) / factor
        self._clipped.update(zip(chosen, found.tolist(), strict=True))

    @torch.no_grad()
    def after_update(self, unknown: Collection[int] = ()) -> None:
        """Measure the weights, and how far they have moved.

        Args:
            unknown: Parameters whose move is not that of this step: others may change them.
        """
        after = [dense(self._weights[place].detach()) for place in self.present]
        weight_norms = norms(after)
        moved = np.zeros(len(after))
        if self._before:
            before = [self._before[place] for place in self.present]
            fused._foreach_sub_(before, after)
            moved = norms(before)
        self._before = {}
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(moved == 0, 0.0, moved / weight_norms)
        ratio[[place in unknown for place in self.present]] = np.nan
        self.statistics |= {
            "weight_norm": self._laid_out(weight_norms),
            "update_ratio": self._laid_out(ratio),
        }
        self._unknown = set(unknown)

    @property
    def median_update_ratio(self) -> float:
        """The median over parameters; NaN if it is known of none."""
        ratios = self._at("update_ratio") if "update_ratio" in self.statistics else np.zeros(0)
        known = [place not in self._unknown for place in self.present]
        return float(np.median(ratios[known])) if any(known) and len(ratios) else math.nan

    def record(self) -> dict[str, Any]:
        """Return the numbers as a log has them: null where there is none."""
        tables: dict[str, list[float | None]] = {}
        for name, values in self.statistics.items():
            row: list[float | None] = [None] * len(self._weights)
            unknown = self._unknown if name == "update_ratio" else ()
            for place, value in zip(self.present, values[self.present].tolist(), strict=True):
                row[place] = None if place in unknown else value
            tables[name] = row
        return {"norm": self.norm, "clipped_norm": self.clipped_norm, "parameters": tables}

    def _at(self, name: str) -> _Numbers:
        return self.statistics[name][self.present]

    def _laid_out(self, values: _Numbers) -> _Numbers:
        row = np.full(len(self._weights), np.nan)
        row[self.present] = values
        return row

    def _gradients(self, places: Sequence[int]) -> list[Tensor]:
        found = (_gradient(self._weights[place]) for place in places)
        return [gradient.detach() for gradient in found if gradient is not None]


def _gradient(weight: Tensor) -> Tensor | None:
    gradient = weight.grad
    return gradient if gradient is not None and has_norm(gradient) else None


def _total(values: _Numbers) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.sum(values**2)))
