"""The units of a plan, changed one after another, until the time is over."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from backlight.errors import ConfigError, StateError
from backlight.stats.agreement import Effects
from backlight.stats.progress import Progress
from backlight.surveys.driver.words.sentences import number
from backlight.surveys.validation.measure.sample import Sample
from backlight.surveys.validation.measure.units import Unit

_MARGIN = 0.03  # of the budget is left for tables and figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is tested.

    Attributes:
        units: The units in their order.
        layers: The layers of the run, by the kind of unit.
        silent: Those of which no feature fires in the passages.
        ablations: What takes their place.
        sample: The passages.
        command: What the run is a run of.
        kinds: The kinds of units.
        seed: Fixes the bootstrap.
        backward: The rule by which gradients go back.
    """

    units: Sequence[Unit]
    layers: Mapping[str, Sequence[int]]
    silent: Sequence[int]
    ablations: Sequence[str]
    sample: Sample
    command: str
    kinds: Sequence[str]
    seed: int
    backward: str


@final
class Tested:
    """What was found of the units so far, in their order.

    Attributes:
        num_done: How many were tested.
        predicted: What the gradient predicts, ``[units, ablations, passages]``; NaN of units that
            were not tested.
        true: The true change, likewise.
        sizes: How large each change is beside the residual stream, ``[units, ablations]``.
        zero_predicted: What is predicted of setting each unit to zero, ``[units, passages]``.
        zero_sizes: How large that change is, ``[units]``.
    """

    def __init__(self, num_units: int, num_ablations: int, num_passages: int) -> None:
        """Start with nothing tested."""
        self.num_done = 0
        self.predicted = np.full((num_units, num_ablations, num_passages), np.nan)
        self.true = np.full_like(self.predicted, np.nan)
        self.sizes = np.full((num_units, num_ablations), np.nan)
        self.zero_predicted = np.full((num_units, num_passages), np.nan)
        self.zero_sizes = np.full(num_units, np.nan)

    def state(self) -> dict[str, NDArray[Any]]:
        """Copy everything into plain arrays."""
        return {"num_done": np.array(self.num_done), **self._arrays()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what ``state`` returned."""
        for name, like in self._arrays().items():
            found = state.get(name)
            if found is None or found.shape != like.shape or found.dtype != like.dtype:
                raise StateError(f"its {name} are not those of these units")
            setattr(self, name, found.copy())
        done = int(state.get("num_done", np.array(-1)))
        if not 0 <= done <= len(self.true) or np.isnan(self.true[:done]).any():
            raise StateError(f"it says that {done} units were tested, which is not so")
        self.num_done = done

    def put(self, unit: Unit, sample: Sample, ablations: Sequence[str]) -> None:
        """Test the next unit.

        Args:
            unit: It.
            sample: The passages.
            ablations: What takes its place.
        """
        row, mask = self.num_done, unit.mask(sample)
        for ablation in dict.fromkeys((*ablations, "zero")):
            delta = unit.change(sample, ablation)
            predicted = sample.predicted(unit.site, delta)
            size = sample.relative_size(unit.site, delta, mask)
            if ablation == "zero":
                self.zero_predicted[row], self.zero_sizes[row] = predicted, size
            if ablation in ablations:
                place = ablations.index(ablation)
                self.predicted[row, place], self.sizes[row, place] = predicted, size
                self.true[row, place] = sample.true(unit.site, delta)
        self.num_done += 1

    def effects(self, ablation: int, weights: NDArray[np.float64]) -> Effects:
        """Return what was predicted and true of the tested units, for one ablation."""
        done = slice(0, self.num_done)
        return Effects(
            predicted=self.predicted[done, ablation],
            true=self.true[done, ablation],
            weights=weights,
        )

    def _arrays(self) -> dict[str, NDArray[Any]]:
        names = ("predicted", "true", "sizes", "zero_predicted", "zero_sizes")
        return {name: getattr(self, name) for name in names}


def change_units(
    plan: Plan, state: Tested, *, seconds: float, passed: Callable[[], float]
) -> Generator[Progress, None, None]:
    """Test units in their order until all are tested or the time is over.

    Args:
        plan: What is tested.
        state: What was found before; it is added to.
        seconds: How long the whole command may take.
        passed: Tells how long it has taken.

    Yields:
        How far it has come, after each unit.

    Raises:
        ConfigError: If the time is over before the first unit.
    """
    begun, first = time.perf_counter(), state.num_done
    for unit in plan.units[first:]:
        done = state.num_done - first
        each = (time.perf_counter() - begun) / done if done else 0.0
        if passed() + each > (1 - _MARGIN) * seconds:
            if not state.num_done:
                raise ConfigError(
                    f"No unit was tested: of the {number(seconds)} s that the command may take "
                    f"(--budget), {number(passed())} s went by before the first of "
                    f"{len(plan.units):,} units. Use a longer --budget."
                )
            return
        state.put(unit, plan.sample, plan.ablations)
        yield Progress(num_tokens=1)
