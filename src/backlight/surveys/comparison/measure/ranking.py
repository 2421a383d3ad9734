"""Features of the first run, listed as other tools would list them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import ConfigError, RunDirectoryError, quoted
from backlight.stats.contrast import Contrast
from backlight.stats.rankings import Fired, Ranked, crisp, dsg, saebench
from backlight.surveys.comparison.measure.sides import Run
from backlight.surveys.comparison.names import GRADIENT, NUM_RANKED
from backlight.surveys.comparison.options import CompareConfig

_TOOLS: Mapping[str, Callable[..., Ranked]] = {"crisp": crisp, "saebench": saebench, "dsg": dsg}
_RECORD = (
    *("activity_tokens", "active_after_first", "sum_after_first"),
    *("active_in_text", "square_in_text"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The features of one layer, compared.

    Attributes:
        layer: The layer.
        contrast: How the first run differs from the second.
        q: The false discovery rate of each feature.
    """

    layer: int
    contrast: Contrast
    q: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The features that one tool would list for one layer.

    Attributes:
        name: By what they are ranked.
        ranked: The features.
        compared: All features of the layer, compared.
        fires: The share of tokens, but for the first of each passage, at which every feature of the
            layer fires in the first and in the second run; None if that was not recorded.
    """

    name: str
    ranked: Ranked
    compared: Compared
    fires: tuple[NDArray[np.float64], NDArray[np.float64]] | None


def rankings_of(
    options: CompareConfig, runs: tuple[Run, Run], layers: Sequence[Compared]
) -> list[Ranking]:
    """Rank features in every way that is asked for, layer by layer.

    Args:
        options: What is asked.
        runs: The runs: the text whose features are looked for, and the other one.
        layers: The features of each layer, compared.

    Returns:
        The rankings, layer by layer; none if none is asked for.

    Raises:
        ConfigError: If they are no runs of features.
        RunDirectoryError: If one did not record how its features fire, and a ranking needs it.
    """
    if not options.rankings:
        return []
    if runs[0].command != "sae":
        raise ConfigError(
            "--rank_by lists features: it takes two runs of `backlight sae`, and these are of "
            f"`backlight {runs[0].command}`."
        )
    return [_ranking(name, options, runs, each) for each in layers for name in options.rankings]


def _ranking(
    name: str, options: CompareConfig, runs: tuple[Run, Run], compared: Compared
) -> Ranking:
    count = options.ranked or NUM_RANKED[name]
    if name == GRADIENT:
        ranked = _surely_higher(compared, options.q, count)
    else:
        forget, retain = (_fired(run, compared.layer, name) for run in runs)
        ranked = _TOOLS[name](forget, retain, count=count)
    return Ranking(name=name, ranked=ranked, compared=compared, fires=_shares(runs, compared.layer))


def _surely_higher(compared: Compared, rate: float, count: int) -> Ranked:
    """List what surely is higher in the first run, the surest first."""
    t = np.nan_to_num(compared.contrast.t)
    found = np.flatnonzero((compared.q <= rate) & (t > 0))
    found = found[np.argsort(-t[found], kind="stable")][:count]
    return Ranked(features=found, score=t[found])


def _fired(run: Run, layer: int, name: str) -> Fired:
    record = _record(run, layer)
    if not record:
        raise RunDirectoryError(
            f"{quoted(run.label)} did not record how often and how strongly the features of layer "
            f"{layer} fire, which --rank_by {name} ranks by. Measure it again with "
            "--record_activity; or compare with --rank_by gradient, which needs no record."
        )
    found = Fired.of(record)
    if not (found.num_after_first and found.num_in_text):
        raise RunDirectoryError(
            f"{quoted(run.label)} has no tokens but the first of each passage, or none that is "
            f"text, so there is nothing to rank by with --rank_by {name}."
        )
    return found


def _shares(
    runs: tuple[Run, Run], layer: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    first, second = (_record(run, layer) for run in runs)
    if not first or not second:
        return None
    own, other = (
        found["active_after_first"] / max(int(found["activity_tokens"][0]), 1)
        for found in (first, second)
    )
    return own, other


def _record(run: Run, layer: int) -> dict[str, NDArray[Any]]:
    """Read what a run recorded of a layer; nothing if it is not whole."""
    names = {name: f"layer_{layer}_{name}" for name in _RECORD}
    if not all(place in run.statistics for place in names.values()):
        return {}
    return {name: run.statistics[place] for name, place in names.items()}
