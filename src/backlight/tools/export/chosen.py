"""Which units of a comparison, or of a run, are taken."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from backlight.errors import ConfigError, RunDirectoryError, quoted
from backlight.runs.results import Results
from backlight.stats.contrast import discovery_rates
from backlight.surveys.driver.words.aggregation import modes_of
from backlight.tools.export.options import ExportConfig
from backlight.tools.export.source import command_of

_Q = re.compile(r"(dimension|feature)_([a-z_]+)_layer_(\d+)_q")
_RATE = 0.05
_NUM_LARGEST = 20

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The units that are taken of one layer, the first one first.

    Attributes:
        kind: What they are: dimensions or features.
        statistic: What was compared, or is largest, or the list they are from.
        layer: The layer.
        indices: Their numbers.
        numbers: What is known of each, by name: in a comparison ``difference`` (a - b), in a run
            ``value``, in a list ``score`` and ``difference``; and ``q``, the false discovery rate.
    """

    kind: str
    statistic: str
    layer: int
    indices: NDArray[np.int64]
    numbers: Mapping[str, Vector]

    def told(self, place: int) -> str:
        """Say why a unit is taken, in a few words."""
        known = {name: values[place] for name, values in self.numbers.items()}
        numbers = ", ".join(
            f"{name} {value:.3g}" for name, value in known.items() if value == value
        )
        return f"{self.statistic}, number {place + 1} of layer {self.layer}: {numbers}"


def chosen(options: ExportConfig, results: Results) -> list[Chosen]:
    """Take units of a comparison or of a run, layer by layer.

    Args:
        options: What is asked.
        results: The comparison or the run.

    Returns:
        The units; layers in which there are none are there, and empty.

    Raises:
        ConfigError: If an option does not fit what it is.
        RunDirectoryError: If it holds no dimensions or features.
    """
    if options.rank_by is not None:
        found = list(_listed(options, options.rank_by, results))
    elif command_of(results) in ("layers", "sae"):
        found = list(_largest(options, results))
    else:
        found = list(_different(options, results.data))
    if not found:
        raise RunDirectoryError(
            f"{quoted(results.path)} has no dimensions or features: units are taken of a run of "
            "`backlight layers` or `sae`, or of a comparison of two (`backlight compare RUN_A "
            "RUN_B --output_dir COMPARISON`). The tables of any run: --to parquet."
        )
    return found


def _different(options: ExportConfig, data: Mapping[str, NDArray[Any]]) -> Iterator[Chosen]:
    """Take what surely differs, the surest first."""
    rate = _RATE if options.q is None else options.q
    for name in data:
        match = _Q.fullmatch(name)
        if match is None:
            continue
        before = name.removesuffix("q")
        q, difference, t = (data[before + each] for each in ("q", "difference", "t"))
        kept = np.flatnonzero((q <= rate) & _is_of(options.side, difference))
        kept = kept[np.argsort(-np.abs(t[kept]), kind="stable")][: options.top]
        yield Chosen(
            kind=match[1],
            statistic=match[2],
            layer=int(match[3]),
            indices=data[before + "index"][kept],
            numbers={"difference": difference[kept], "q": q[kept]},
        )


def _listed(options: ExportConfig, name: str, results: Results) -> Iterator[Chosen]:
    """Take a list that the comparison made, as it is, or what of it is sure and of one side."""
    layers = results.tables.get("rankings")
    made = [] if layers is None else list(dict.fromkeys(layers["ranking"].tolist()))
    if layers is None or name not in made:
        raise ConfigError(
            f"{quoted(results.path)} has no list by {quoted(name)}, only by "
            f"{', '.join(map(str, made)) or 'none'}: make one with `backlight compare RUN_A RUN_B "
            "--rank_by crisp --output_dir COMPARISON` (crisp, saebench, dsg or gradient)."
        )
    table = results.tables["ranking"]
    for layer in np.unique(layers["layer"][layers["ranking"] == name]).tolist():
        own = table.select((table["ranking"] == name) & (table["layer"] == layer))
        own = own.select(_is_of(options.side, own["difference"]))
        if options.q is not None:
            own = own.select(own["q"] <= options.q)
        own = own.select(np.arange(own.num_rows)[: options.top])
        yield Chosen(
            kind="feature",
            statistic=name,
            layer=int(layer),
            indices=own["feature"].astype(np.int64),
            numbers={each: own[each] for each in ("score", "difference", "q")},
        )


def _largest(options: ExportConfig, results: Results) -> Iterator[Chosen]:
    """Take what is largest in each layer of a run, by the way it was aggregated."""
    command = command_of(results)
    if options.side != "both":
        raise ConfigError("--side is of comparisons: of a single run leave it out.")
    mode = modes_of(results.config)[0]
    kind = "dimension" if command == "layers" else "feature"
    for layer, count, numbers in _of_run(command, mode, results):
        value, q = numbers[mode], _rates(numbers, count)
        kept = np.flatnonzero(~np.isnan(value))
        if options.q is not None:
            kept = kept[q[kept] <= options.q]
        most = _NUM_LARGEST if options.top is None and options.q is None else options.top
        kept = kept[np.argsort(-np.abs(value[kept]), kind="stable")][:most]
        yield Chosen(
            kind=kind,
            statistic=mode,
            layer=layer,
            indices=kept,
            numbers={"value": value[kept], "q": q[kept]},
        )


def _of_run(
    command: str, mode: str, results: Results
) -> Iterator[tuple[int, int, Mapping[str, Vector]]]:
    """List the layers of a run, with how many passages there were and every unit's numbers."""
    layers = results.tables["layers"]
    counts = zip(layers["layer"].tolist(), layers["num_sequences"].tolist(), strict=True)
    names = dict.fromkeys((mode, "mean", "mean_se"))
    for layer, count in counts:
        if command == "sae":
            yield (
                layer,
                count,
                {name: results.statistics[f"layer_{layer}_{name}"] for name in names},
            )
        else:
            table = results.tables["dimensions"]
            own = table.select(table["layer"] == layer)
            yield layer, count, {name: own[name].astype(np.float64) for name in names}


def _rates(numbers: Mapping[str, Vector], count: int) -> Vector:
    """Compute at which false discovery rate each mean differs from zero; NaN if nobody knows."""
    mean, error = numbers["mean"], numbers["mean_se"]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean / error)
    return discovery_rates(2 * stdtr(np.maximum(count - 1, 1), -t))


def _is_of(side: str, difference: Vector) -> NDArray[np.bool_]:
    if side == "both":
        return np.ones(len(difference), dtype=np.bool_)
    return difference > 0 if side == "a" else difference < 0
