"""More than two runs, such as checkpoints: each held against the first, or the one before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backlight.errors import ConfigError, quoted
from backlight.stats.contrast import discovery_rates
from backlight.surveys.comparison.measure import comparison
from backlight.surveys.comparison.measure.comparison import Comparison
from backlight.surveys.comparison.measure.sides import Run
from backlight.surveys.comparison.options import CompareConfig

_PAIR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparisons:
    """A series of runs, each compared with the first or the one before.

    Attributes:
        runs: The runs, in their order.
        pairs: The comparisons: a is the run that another is held against, b is that one. Their
            false discovery rates are among all units of all pairs.
        material: What the runs are; it must be the same when a comparison is resumed.
        run_name: How an automatically named directory begins.
    """

    runs: Sequence[Run]
    pairs: Sequence[Comparison]
    material: Mapping[str, Any]
    run_name: str


def measure(
    options: CompareConfig,
    *,
    runs: Sequence[Run],
    same_passages: bool,
    material: Mapping[str, Any],
) -> Comparison | Comparisons:
    """Compare two runs, or a series of them.

    Args:
        options: What is asked.
        runs: The runs; they can be compared.
        same_passages: Whether both of two read the same passages; of a series each pair is asked.
        material: What the runs are.

    Returns:
        The comparison, or several.

    Raises:
        ConfigError: If runs have no unit in common, or other numbers of dimensions or features.
    """
    if len(runs) == _PAIR:
        first, second = runs
        return comparison.measure(
            options, runs=(first, second), same_passages=same_passages, material=material
        )
    if options.rankings:
        raise ConfigError(
            f"--rank_by lists the features of one text against another: it takes two runs, not "
            f"{len(runs)}."
        )
    pairs = list(_pairs(options, runs, material))
    return Comparisons(
        runs=runs,
        pairs=_among_all(pairs),
        material=material,
        run_name=f"compare_{len(runs)}_{runs[0].command}",
    )


def _pairs(
    options: CompareConfig, runs: Sequence[Run], material: Mapping[str, Any]
) -> Iterator[Comparison]:
    told = list(material["compared"].values())
    for place in range(1, len(runs)):
        before = 0 if options.against == "first" else place - 1
        first, second = runs[before], runs[place]
        yield _named(
            options,
            (first, second),
            {"compared": {"a": told[before], "b": told[place]}},
        )


def _named(
    options: CompareConfig, runs: tuple[Run, Run], material: Mapping[str, Any]
) -> Comparison:
    """Compare two runs of a series; what does not fit is told with their names."""
    first, second = runs
    same = first.tokens is not None and first.tokens == second.tokens
    try:
        return comparison.measure(options, runs=runs, same_passages=same, material=material)
    except ConfigError as error:
        raise ConfigError(f"{quoted(first.label)} and {quoted(second.label)}: {error}") from error


def _among_all(pairs: Sequence[Comparison]) -> list[Comparison]:
    """Compute false discovery rates among all units of all pairs."""
    parts = [part for pair in pairs for part in pair.parts]
    ends = np.cumsum([len(part.q) for part in parts])[:-1]
    rates = discovery_rates(np.concatenate([part.contrast.p for part in parts]))
    told = iter(np.split(rates, ends))
    return [
        replace(pair, parts=[replace(part, q=next(told)) for part in pair.parts]) for pair in pairs
    ]
