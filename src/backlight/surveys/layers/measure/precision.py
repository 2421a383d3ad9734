"""How sure the numbers of a profile are, from its state alone."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from backlight.models.sites import Site
from backlight.stats.aggregate import Mode
from backlight.stats.base import State
from backlight.surveys.driver.options.precision import NUM_TOP
from backlight.surveys.driver.shards.stopping import (
    Errors,
    largest,
    part_under,
    ratios_under,
    relative_errors,
)

_SUMMARY = {"mean": 0, "mean_abs": 1, "rms": 2}


def errors_of(sites: Sequence[Site], mode: Mode, whose: str) -> Errors:
    """Say how relative errors follow from a profile.

    Args:
        sites: The sites, one in each layer.
        mode: Of which statistic.
        whose: ``layers``, or ``top`` for the largest dimensions of all layers.

    Returns:
        How.
    """
    of_layers = whose == "layers"
    place = "summaries/mean" if of_layers else f"moments/{mode}"
    places = [f"bank/{site.name}/{place}" for site in sites]
    relative = partial(_of_layer, _SUMMARY[mode]) if of_layers else _of_top
    return Errors(part=partial(part_under, places), relative=partial(relative, places))


def _of_layer(summary: int, places: Sequence[str], part: State) -> NDArray[np.float64]:
    """Compute the relative error of each layer's statistic."""
    found = [relative_errors(ratios_under(place, part))[summary] for place in places]
    # A root's relative error is half that of what it is the root of.
    return np.array(found) / (2 if summary == _SUMMARY["rms"] else 1)


def _of_top(places: Sequence[str], part: State) -> NDArray[np.float64]:
    """Compute the relative errors of the largest dimensions."""
    results = [ratios_under(place, part) for place in places]
    errors = np.concatenate([relative_errors(each) for each in results])
    return largest(errors, np.concatenate([each.ratio for each in results]), NUM_TOP)
