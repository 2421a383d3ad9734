"""Two runs held against each other, unit by unit and layer by layer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import ConfigError, quoted
from backlight.stats.contrast import (
    Contrast,
    Estimates,
    Groups,
    discovery_rates,
    paired,
    unpaired,
)
from backlight.stats.likeness import Overlap, rank_agreement, top_overlap
from backlight.surveys.comparison.measure.ranking import Compared, Ranking, rankings_of
from backlight.surveys.comparison.measure.sides import (
    Key,
    Run,
    Side,
    known_statistics,
    sides_of,
)
from backlight.surveys.comparison.names import PAIRED, UNPAIRED
from backlight.surveys.comparison.options import CompareConfig
from backlight.surveys.driver.words.aggregation import modes_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The units of one kind, statistic and layer, compared.

    Attributes:
        key: Kind, statistic and layer.
        first: What the first run says.
        second: What the second one says of the same units.
        contrast: How the first differs from the second.
        q: The false discovery rate of each unit, among all of the comparison.
        errors: Whether errors are of paired passages, or not.
        agreement: Spearman's correlation of the units' values.
        overlap: Of the largest; None where there are no more units than that.
    """

    key: Key
    first: Side
    second: Side
    contrast: Contrast
    q: NDArray[np.float64]
    errors: str
    agreement: float
    overlap: Overlap | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs, compared.

    Attributes:
        runs: The runs.
        statistics: What was compared.
        same_passages: Whether both runs read the same passages.
        parts: The units, layer by layer.
        left_out: What only one of the runs has, in words.
        rankings: Features as other tools would list them, if that was asked for.
        material: What the runs are; it must be the same when a comparison is resumed.
        run_name: How an automatically named directory begins.
    """

    runs: tuple[Run, Run]
    statistics: Sequence[str]
    same_passages: bool
    parts: Sequence[Part]
    left_out: Sequence[str]
    rankings: Sequence[Ranking]
    material: Mapping[str, Any]
    run_name: str


def measure(
    options: CompareConfig,
    *,
    runs: tuple[Run, Run],
    same_passages: bool,
    material: Mapping[str, Any],
) -> Comparison:
    """Compare two runs.

    Args:
        options: What is asked.
        runs: The runs; they can be compared.
        same_passages: Whether both read the same passages.
        material: What the runs are.

    Returns:
        The comparison.

    Raises:
        ConfigError: If the runs have no unit in common, or other numbers of dimensions or features.
    """
    statistics = _statistics(options, runs)
    first, second = (sides_of(run, statistics) for run in runs)
    common = [key for key in first if key in second]
    pairs = ((key, *_matched(key, first[key], second[key])) for key in common)
    matched = [(key, own, other) for key, own, other in pairs if len(own.index)]
    if not matched:
        raise ConfigError("The runs have no unit in common, so there is nothing to compare.")
    found = [_contrast(own, other, same_passages) for _, own, other in matched]
    sizes = np.cumsum([len(contrast.p) for contrast, _ in found])[:-1]
    rates = np.split(discovery_rates(np.concatenate([each.p for each, _ in found])), sizes)
    parts = [
        _part(options, row, *each, q) for row, each, q in zip(matched, found, rates, strict=True)
    ]
    return Comparison(
        runs=runs,
        statistics=statistics,
        same_passages=same_passages,
        parts=parts,
        left_out=list(_left_out(first, second, runs)),
        rankings=rankings_of(options, runs, _layers_of(parts)),
        material=material,
        run_name=f"compare_{runs[0].command}",
    )


def _layers_of(parts: Sequence[Part]) -> list[Compared]:
    """Take each layer's units by the first statistic that is compared."""
    return [
        Compared(layer=part.key[2], contrast=part.contrast, q=part.q)
        for part in parts
        if part.key[1] == parts[0].key[1]
    ]


def _statistics(options: CompareConfig, runs: tuple[Run, Run]) -> Sequence[str]:
    """Choose what is compared: what was asked for, or the run's own mode, or all that both have."""
    if options.statistics:
        return options.statistics
    if runs[0].command in ("layers", "sae"):
        known = known_statistics(runs[0])
        mode = modes_of(runs[0].config)[0]
        return [mode if mode in known else "mean"]
    theirs = known_statistics(runs[1])
    return [name for name in known_statistics(runs[0]) if name in theirs]


def _matched(key: Key, first: Side, second: Side) -> tuple[Side, Side]:
    """Keep the units that both have; of dimensions and features all must be there in both."""
    kind, _, layer = key
    if kind in ("dimension", "feature"):
        if len(first.index) != len(second.index):
            raise ConfigError(
                f"Layer {layer} has {len(first.index):,} {kind}s in one run and "
                f"{len(second.index):,} in the other: they are not the same, and cannot be "
                "compared one by one."
            )
        return first, second
    own, other = _places(first), _places(second)
    both = [unit for unit in own if unit in other]
    return (
        _kept(first, np.array([own[unit] for unit in both], dtype=np.int64)),
        _kept(second, np.array([other[unit] for unit in both], dtype=np.int64)),
    )


def _places(side: Side) -> dict[tuple[int, str], int]:
    units = zip(side.index.tolist(), side.name.tolist(), strict=True)
    return {unit: place for place, unit in enumerate(units)}


def _kept(side: Side, places: NDArray[np.int64]) -> Side:
    return Side(
        index=side.index[places],
        name=side.name[places],
        estimates=side.estimates.of(places),
        unit=side.unit,
        groups=None if side.groups is None else partial(_kept_groups, side.groups, places),
    )


def _kept_groups(read: Callable[[], Groups], places: NDArray[np.int64]) -> Groups:
    return read().of(places)


def _contrast(first: Side, second: Side, same_passages: bool) -> tuple[Contrast, str]:
    if same_passages and first.groups is not None and second.groups is not None:
        return paired(first.groups(), second.groups()), PAIRED
    return unpaired(first.estimates, second.estimates), UNPAIRED


def _part(
    options: CompareConfig,
    row: tuple[Key, Side, Side],
    contrast: Contrast,
    errors: str,
    q: NDArray[np.float64],
) -> Part:
    key, first, second = row
    return Part(
        key=key,
        first=first,
        second=second,
        contrast=contrast,
        q=q,
        errors=errors,
        agreement=rank_agreement(first.estimates.value, second.estimates.value),
        overlap=_overlap(options, first.estimates, second.estimates),
    )


def _overlap(options: CompareConfig, first: Estimates, second: Estimates) -> Overlap | None:
    if len(first.value) <= options.top:
        return None
    return top_overlap(first, second, options.top, seed=options.seed)


def _left_out(
    first: Mapping[Key, Side], second: Mapping[Key, Side], runs: tuple[Run, Run]
) -> Iterator[str]:
    """Say which layers only one of the runs has."""
    for own, other, run in ((first, second, runs[0]), (second, first, runs[1])):
        layers = sorted({key[2] for key in own if key not in other})
        if layers:
            yield f"layers {', '.join(map(str, layers))} of {quoted(run.label)}"
