"""The trials of an experiment, carried out one after another; finished ones are not repeated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backlight.models.devices import choose_device
from backlight.report.plots import Plot
from backlight.runs.directory import RunDirectory
from backlight.surveys.driver.words.bars import TRIALS
from backlight.surveys.driver.words.progress import Bar, restore_checkpoint
from backlight.tables import Table

Trial = Callable[[], Mapping[str, NDArray[Any]]]
"""A part of an experiment that depends on no other; it returns arrays by name."""

_OF = "|"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabFindings:
    """What an experiment found.

    Attributes:
        tables: All tables that are kept.
        plots: The pictures that are drawn of them.
        printed: The names of the tables that are shown in the terminal, in this order.
        remarks: What the numbers say, in plain sentences: theory beside measurement.
    """

    tables: Sequence[Table]
    plots: Sequence[Plot]
    printed: Sequence[str]
    remarks: Sequence[str] = field(default_factory=tuple[str, ...])


@dataclass(frozen=True, slots=True)
class _Done:
    """One trial, as a step of progress."""

    num_tokens: int = 1
    resumable: bool = True


class TrialRunner:
    """Carries out the trials of an experiment.

    Attributes:
        device: Where they are computed.
        results: The arrays of each finished trial, by its name.
    """

    def __init__(self, device: str, directory: RunDirectory | None, *, quiet: bool = False) -> None:
        """Take up the trials that an earlier run finished.

        Args:
            device: The name of the device.
            directory: Where finished trials are kept; None for nowhere.
            quiet: Show no progress.
        """
        self._quiet = quiet
        self.device = choose_device(device)
        self.results: dict[str, dict[str, NDArray[Any]]] = {}
        self._directory = directory
        restore_checkpoint(directory, self)

    def carry_out(self, trials: Mapping[str, Trial]) -> dict[str, dict[str, NDArray[Any]]]:
        """Carry out trials, keeping what they found every few seconds, and in the end.

        Args:
            trials: By names that are theirs alone. A trial must not depend on those before it: it
                makes its own seeds.

        Returns:
            What each found, in the same order.
        """
        bar = Bar(
            "",
            total=len(trials),
            unit=TRIALS,
            run=self._directory,
            state=self,
            quiet=self._quiet,
        )
        with bar:
            try:
                for name, trial in trials.items():
                    bar.tell(name)
                    if name not in self.results:
                        with torch.random.fork_rng():
                            self.results[name] = {key: np.asarray(a) for key, a in trial().items()}
                    bar.after(_Done())
            finally:  # a trial that fails, or is interrupted, costs itself alone
                bar.keep()
        return {name: self.results[name] for name in trials}

    def state(self) -> dict[str, NDArray[Any]]:
        """Copy all arrays of all trials, by ``{trial}|{name}``."""
        return {
            f"{trial}{_OF}{name}": array
            for trial, arrays in self.results.items()
            for name, array in arrays.items()
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up the trials that ``state`` returned."""
        for key, array in state.items():
            trial, _, name = key.rpartition(_OF)
            self.results.setdefault(trial, {})[name] = array
