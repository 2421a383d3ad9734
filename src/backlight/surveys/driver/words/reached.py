"""How sure the numbers of a run became that could stop before the end of its text, in words."""

from collections.abc import Mapping
from typing import Any

from backlight.surveys.driver.options.precision import NUM_TOP

PRECISION = "precision"
"""The name under which metadata say how sure the numbers became."""

_WHOSE = {"layers": "over layers", "top": "over the largest {num}"}


def precision_lines(metadata: Mapping[str, Any]) -> list[str]:
    """Say how many passages it took, and how sure the numbers became.

    Args:
        metadata: The metadata of the results.

    Returns:
        A line, or none where all of the text was to be measured.
    """
    told: Mapping[str, Any] | None = metadata.get(PRECISION)
    if told is None:
        return []
    which = "drawn by chance" + " from the text's beginning" * told["is_beginning"]
    seen, most = told["num_passages"], told["most_passages"]
    return [f"{_ended(told)} ({seen:,} of at most {most:,} passages, {which})."]


def _ended(told: Mapping[str, Any]) -> str:
    whose = _WHOSE[told["of"]].format(num=NUM_TOP)
    error = told["relative_error"]
    known = "is not known" if error is None else f"is {_percent(error)}"
    reached = f"The relative standard error (median {whose}) {known}"
    if told["is_reached"]:
        return f"{reached}, below the {_percent(told['asked'])} asked for"
    return (
        f"The precision of {_percent(told['asked'])} was not reached: {reached[0].lower()}"
        f"{reached[1:]}; a signed mean near zero may never get there"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
