"""What the page of a run of features shows: its numbers by layer, with names and units."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import ConfigError, listed, quoted
from backlight.report.page.views import Numbers, Statistic
from backlight.runs.results import Results
from backlight.surveys.driver.words.aggregation import modes_of

MANY = 300_000
"""Features in all, above which a page has only what was asked for."""

_KNOWN = {
    "frequency": "fires at (share of tokens)",
    "sign_consistency": "sign consistency (|mean| / mean abs)",
    "decoder_norm": "norm of the decoder's row",
    "relative_size": "relative size",
    "predicted_change": "predicted change (nats)",
    "warning_index": "warning index (1/nats)",
    "likely_wrong": "likely wrong (1)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the page of a run shows.

    Attributes:
        layers: The layers, in their order.
        modes: The statistics that were asked for; the first one is shown first.
        unit: The unit of what was averaged.
        averaged: Over which tokens, in words.
        transformed: What was done to the aggregates afterwards, in words; empty if nothing.
        results: The run.
    """

    layers: Sequence[int]
    modes: Sequence[str]
    unit: str
    averaged: str
    transformed: str
    results: Results

    @staticmethod
    def of(results: Results) -> "Shown":
        """Collect what is shown."""
        options, table = results.config, results.tables["layers"]
        modes = modes_of(options)
        fires = "the tokens where a feature fires" if options["active_only"] else "all tokens"
        return Shown(
            layers=table["layer"].tolist(),
            modes=modes,
            unit=table.units[modes[0]],
            averaged=f"averaged over {fires} that were looked at",
            transformed=", ".join(_transformed(options)),
            results=results,
        )

    @property
    def poor(self) -> Mapping[str, Any]:
        """The layers whose dictionaries reconstruct poorly, with the reasons."""
        return self.results.metadata.get("poor_reconstruction", {})

    @property
    def first(self) -> Mapping[int, Numbers]:
        """The numbers of the first mode, by layer."""
        return self.by_layer(self.modes[0])

    @property
    def are_many(self) -> bool:
        """Whether there are too many features for all their numbers to stand on a page."""
        return sum(map(len, self.first.values())) > MANY

    def by_layer(self, name: str) -> dict[int, Numbers]:
        """Collect one statistic of every feature."""
        return self._collected(self.results.statistics, name)

    def statistics(self, wanted: Sequence[str] | None) -> list[Statistic]:
        """Make what can be chosen for the points.

        Args:
            wanted: Names of statistics besides the first mode and its error; None for all.

        Returns:
            The first mode and its error first.

        Raises:
            ConfigError: If the run has no such statistic.
        """
        first = [name for name in (self.modes[0], f"{self.modes[0]}_se") if name in self._names]
        offered = self._offered()
        unknown = [name for name in wanted or () if name not in offered]
        if unknown:
            raise ConfigError(
                f"This run has no statistic {quoted(unknown[0])} of single features; it has "
                f"{listed(offered)}."
            )
        names = list(dict.fromkeys([*first, *(offered if wanted is None else wanted)]))
        return [self._statistic(name, names) for name in names]

    @property
    def _names(self) -> list[str]:
        start = f"layer_{self.layers[0]}_"
        found = self.results.statistics
        return [name.removeprefix(start) for name in found if name.startswith(start)]

    def _offered(self) -> list[str]:
        """List all statistics of features: measured ones, what follows from them, aggregates."""
        names = self._names
        modes = dict.fromkeys([*self.modes, "mean_abs", "mean", "rms"])
        values = [each for mode in modes for each in (mode, f"{mode}_se") if each in names]
        derived = ["sign_consistency"] if "mean_abs" in names else []
        others = [name for name in names if name not in values]
        return [*values, *derived, *others, *self._aggregates()]

    def _aggregates(self) -> list[str]:
        """Name the aggregates after power and normalisation, if there was any."""
        start = f"layer_{self.layers[0]}_"
        names = [name.removeprefix(start) for name in self.results.data if name.startswith(start)]
        return [f"aggregate_{name}" for name in names] if self.transformed else []

    def _statistic(self, name: str, among: Sequence[str]) -> Statistic:
        error = f"{name}_se" if f"{name}_se" in among else ""
        return Statistic(name=name, label=self._label(name), values=self._values(name), error=error)

    def _values(self, name: str) -> Mapping[int, Numbers]:
        if name == "sign_consistency":
            means, sizes = self.by_layer("mean"), self.by_layer("mean_abs")
            return {layer: _consistency(means[layer], sizes[layer]) for layer in self.layers}
        if name.startswith("aggregate_"):
            return self._collected(self.results.data, name.removeprefix("aggregate_"))
        return self.by_layer(name)

    def _collected(self, arrays: Mapping[str, NDArray[Any]], name: str) -> dict[int, Numbers]:
        return {layer: arrays[f"layer_{layer}_{name}"].astype(np.float64) for layer in self.layers}

    def _label(self, name: str) -> str:
        if name in _KNOWN:
            return _KNOWN[name]
        if name.startswith("aggregate_"):
            words = name.removeprefix("aggregate_").replace("_", " ")
            return f"{words}, {self.transformed}"
        return f"{name.replace('_', ' ')} ({self.unit})"


def _consistency(means: Numbers, sizes: Numbers) -> Numbers:
    """Divide |mean| by mean_abs; not known where a feature has no size at all."""
    known = np.where(sizes > 0, sizes, np.nan)
    return np.abs(means) / known


def _transformed(options: Mapping[str, Any]) -> Iterator[str]:
    if options["power"] is not None:
        yield f"to the power {options['power']:g}"
    if options["normalize"] != "none":
        yield "normalised"
