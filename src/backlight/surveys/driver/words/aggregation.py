"""How the numbers of dimensions, or of features, were aggregated, in words."""

from collections.abc import Mapping
from typing import Any

STATISTICS = {"mean": "mean", "mean_abs": "mean absolute value", "rms": "root mean square"}
"""What each mode of aggregation is called within a sentence."""


def modes_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """List the modes of a run as its words and its page tell of them.

    Args:
        config: The options of the run.

    Returns:
        The modes; the first is the one by which dimensions, features and layers are ordered.
    """
    mode = config["aggregation_mode"]
    return ("mean_abs", "mean") if mode == "both" else (str(mode),)


def is_signed(config: Mapping[str, Any], mode: str) -> bool:
    """Whether a statistic of a run can be below zero: a mean can, but not one of squares."""
    return mode == "mean" and config["aggregate_by"] != "fisher"


def aggregation_notes(power: float | None, normalize: str) -> list[str]:
    """Say that what is shown was not raised to a power or normalised, if the arrays were."""
    if power is None and normalize == "none":
        return []
    return ["Shown before power and normalisation, which are in the arrays."]
