"""How sure the numbers of a survey of features are, from its state alone."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from backlight.errors import ConfigError
from backlight.stats.aggregate import Mode
from backlight.stats.base import State
from backlight.surveys.driver.options.precision import NUM_TOP
from backlight.surveys.driver.shards.stopping import Errors, largest, part_under, ratios_under
from backlight.surveys.driver.shards.stopping import relative_errors as relative


def errors_of(layers: Sequence[int], mode: Mode, whose: str, *, is_dense: bool) -> Errors:
    """Say how relative errors follow from the state of a survey of features.

    Of a layer it is the median over its largest features: an average over all of them says little,
    as most hardly ever fire.

    Args:
        layers: The layers.
        mode: Of which statistic.
        whose: ``layers``, or ``top`` for the largest features of all layers.
        is_dense: Gradients of all tokens are measured, in closed form.

    Returns:
        How.

    Raises:
        ConfigError: If the errors do not follow from the state alone.
    """
    if mode == "rms" or (is_dense and mode == "mean"):
        raise ConfigError(
            "precision: while features are measured, the standard error of a root mean square is "
            "not known, nor that of a signed mean of gradients at all tokens; use "
            "--aggregation_mode mean_abs."
        )
    part = "absolute" if is_dense else f"sparse/{mode}"
    places = [f"{layer}/{part}" for layer in layers]
    errors = _of_layers if whose == "layers" else _of_top
    return Errors(part=partial(part_under, places), relative=partial(errors, places))


def _of_layers(places: Sequence[str], part: State) -> NDArray[np.float64]:
    return np.array([_median(_of_top([place], part)) for place in places])


def _of_top(places: Sequence[str], part: State) -> NDArray[np.float64]:
    results = [ratios_under(place, part) for place in places]
    errors = np.concatenate([relative(each) for each in results])
    return largest(errors, np.concatenate([each.ratio for each in results]), NUM_TOP)


def _median(errors: NDArray[np.float64]) -> float:
    known = errors[~np.isnan(errors)]
    return float(np.median(known)) if len(known) else float("nan")
