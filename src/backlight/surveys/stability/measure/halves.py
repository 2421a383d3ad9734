"""A run split into random halves of its passages, again and again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import ConfigError
from backlight.stats.contrast import Groups, estimates_of
from backlight.stats.likeness import rank_agreement, shared_top
from backlight.surveys.comparison.measure.sides import Key, Run, grouped_statistics, sides_of
from backlight.surveys.stability.options import StabilityConfig

_LEAST_GROUPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The units of one kind, statistic and layer, in two halves of the passages.

    Attributes:
        key: Kind, statistic and layer.
        num_units: How many units there are.
        num_passages: How many passages the run has read.
        num_groups: In how many groups they are.
        agreements: Spearman's correlation of both halves, ``[splits]``.
        overlaps: The share of the largest that is in both halves, ``[splits]``; NaN where there
            are no more units than that.
    """

    key: Key
    num_units: int
    num_passages: int
    num_groups: int
    agreements: NDArray[np.float64]
    overlaps: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """A run and its halves.

    Attributes:
        run: The run.
        splits: Layer by layer.
        material: What the run is.
        run_name: How an automatically named directory begins.
    """

    run: Run
    splits: Sequence[Split]
    material: Mapping[str, Any]
    run_name: str


def measure(options: StabilityConfig, *, run: Run, material: Mapping[str, Any]) -> Stability:
    """Split a run.

    Args:
        options: What is asked.
        run: The run; it keeps groups of passages.
        material: What the run is.

    Returns:
        Its halves.

    Raises:
        ConfigError: If it has too few passages to be split.
    """
    splits = list(_splits(options, run))
    return Stability(run=run, splits=splits, material=material, run_name=f"stability_{run.command}")


def _splits(options: StabilityConfig, run: Run) -> Iterator[Split]:
    layers = run.tables["layers"]
    counts = dict(zip(layers["layer"].tolist(), layers["num_sequences"].tolist(), strict=True))
    for key, side in sides_of(run, grouped_statistics(run)).items():
        if side.groups is None:
            continue
        agreements, overlaps, num_groups = _halves(options, side.groups())
        yield Split(
            key=key,
            num_units=len(side.index),
            num_passages=int(counts[key[2]]),
            num_groups=num_groups,
            agreements=agreements,
            overlaps=overlaps,
        )


def _halves(
    options: StabilityConfig, groups: Groups
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    seen = np.flatnonzero((groups.below != 0).any(axis=1))
    if len(seen) < _LEAST_GROUPS:
        raise ConfigError(
            f"The run has {len(seen)} passages, and {_LEAST_GROUPS} at least are needed to split "
            "it. Measure more."
        )
    random, found = np.random.default_rng(options.seed), []
    for _ in range(options.splits):
        order = random.permutation(seen)
        middle = len(order) // 2
        first, second = (_value(groups, half) for half in (order[:middle], order[middle:]))
        overlap = (
            shared_top(first, second, options.top) if len(first) > options.top else float("nan")
        )
        found.append((rank_agreement(first, second), overlap))
    agreements, overlaps = np.array(found).T
    return agreements, overlaps, len(seen)


def _value(groups: Groups, half: NDArray[np.int64]) -> NDArray[np.float64]:
    own = Groups(above=groups.above[half], below=groups.below[half], is_square=groups.is_square)
    return estimates_of(own).value
