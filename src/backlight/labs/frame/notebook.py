"""What an experiment writes into: trials that are finished, then findings.

An experiment is a module or a package ``labs/{name}`` with one function ``experiment(config,
notebook)``. It asks its notebook to carry out trials and gives findings; all the rest (directories,
resuming, pictures, printing) is not its business.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from backlight.models.devices import choose_device
from backlight.report.plots import Plot
from backlight.runs.directory import RunDirectory
from backlight.surveys.driver.session import CHECKPOINT_SECONDS, console, restore_checkpoint
from backlight.tables import Table

Trial = Callable[[], Mapping[str, NDArray[Any]]]
"""A part of an experiment that depends on no other: gives arrays by name."""

_OF = "|"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
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


class Notebook:
    """Carries out the trials of an experiment; those that were finished before are not repeated.

    Attributes:
        device: Where they run.
        results: What each finished trial gave, by the trial's name.
    """

    def __init__(self, device: str, directory: RunDirectory | None) -> None:
        self.device = choose_device(device)
        self.results: dict[str, dict[str, NDArray[Any]]] = {}
        self._directory = directory
        if directory is not None:
            restore_checkpoint(directory, self._restore)

    def carry_out(self, trials: Mapping[str, Trial]) -> dict[str, dict[str, NDArray[Any]]]:
        """Carry out trials, keeping what they give every few seconds, and in the end.

        Args:
            trials: By names that are theirs alone. A trial must not depend on those before it: it
                makes its own seeds.

        Returns:
            What each gave, in the same order.
        """
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        kept = time.monotonic()
        with Progress(*columns, console=console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=len(trials))
            try:
                for name, trial in trials.items():
                    bar.update(task, description=name)
                    if name not in self.results:
                        with torch.random.fork_rng():
                            self.results[name] = {key: np.asarray(a) for key, a in trial().items()}
                    bar.advance(task)
                    if time.monotonic() - kept >= CHECKPOINT_SECONDS:
                        self._keep()
                        kept = time.monotonic()
            finally:  # also when a trial fails, or is interrupted
                self._keep()
        return {name: self.results[name] for name in trials}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give all arrays of all trials, by ``{trial}|{name}``."""
        return {
            f"{trial}{_OF}{name}": array
            for trial, arrays in self.results.items()
            for name, array in arrays.items()
        }

    def _keep(self) -> None:
        if self._directory is not None:
            self._directory.save_checkpoint(self.arrays())

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for key, array in arrays.items():
            trial, _, name = key.rpartition(_OF)
            self.results.setdefault(trial, {})[name] = array
