"""What is validated: a finished run, as much of it as the test needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from backlight.errors import RunDirectoryError, quoted
from backlight.models.subject import Subject
from backlight.surveys.driver.material.opening import Opening
from backlight.surveys.driver.measurement import Measurement
from backlight.tables import Table

_TOLD_APART: Mapping[str, tuple[str, ...]] = {
    "text": ("tokens_sha256", "rows_sha256"),
    "model": ("weights_sample", "architecture", "dtype"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A finished run.

    Attributes:
        command: What it is a run of.
        options: Its options.
        mode: The statistic by which it ranks.
        prepare: Its survey's door ``measure``.
        subject: A model that is already loaded; None for the one that the options name.
        tables: Its tables.
        statistics: The numbers of its features, by layer and statistic.
        origin: Where its numbers came from; empty of results that were not written.
        path: Where it is; None of such results.
    """

    command: str
    options: Any
    mode: str
    prepare: Callable[[Any, Opening], Measurement[Any, Any]]
    subject: Subject | None
    tables: Mapping[str, Table]
    statistics: Mapping[str, NDArray[Any]]
    origin: Mapping[str, Any]
    path: str | None

    def open(self, opening: Opening) -> Measurement[Any, Any]:
        """Open its model and its text again.

        Args:
            opening: It knows the time.

        Returns:
            The run's survey, ready to run: with the model, the text, and where it looked.

        Raises:
            RunDirectoryError: If the model or the text has changed since.
        """
        measurement = self.prepare(self.options, Opening(self.options, self.subject, opening.clock))
        material = measurement.corpus.material
        self._refuse_other("text", self.origin.get("corpus", {}), material["corpus"])
        self._refuse_other("model", self.origin.get("model", {}), material["model"])
        return measurement

    def identity(self) -> dict[str, Any]:
        """Describe it, so that another one is noticed when a validation is gone on with."""
        rows = {name: table.num_rows for name, table in self.tables.items()}
        return {"command": self.command, "mode": self.mode, "rows": rows}

    def _refuse_other(self, what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        for name in _TOLD_APART[what]:
            if name in before and before[name] != now.get(name):
                raise RunDirectoryError(
                    f"The {what} is another than the one that the run in {quoted(self.path)} "
                    f"measured ({name}: {quoted(before[name])} then, {quoted(now.get(name))} now). "
                    "Measure it again."
                )
