"""Options of a survey that stops when its numbers are sure enough."""

from typing import Any, Literal

from pydantic import Field, field_validator

from backlight.surveys.driver.options.shared import Options

LEAST_PASSAGES = 64
"""How many passages are measured at least: with 32, errors that are too small by chance stop a run
so often that intervals hold the truth in 92 % instead of 95 % (`benchmarks/precision.py`)."""

NUM_TOP = 20
"""How many of the largest dimensions or features ``--precision_of top`` looks at."""


class PrecisionOptions(Options):
    """How sure a number must be for a survey to stop before the end of its text."""

    precision: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Stop when the numbers are sure enough: when the relative standard error of a "
        "layer's statistic, in the median over layers, is below this, such as 0.05. Passages are "
        "measured in an order drawn by --seed, at least 64 and at most --num_samples.",
    )
    precision_of: Literal["layers", "top"] = Field(
        default="layers",
        description=f"Whose errors --precision looks at: layers, or top, the {NUM_TOP} largest "
        "dimensions or features, in the median over them.",
    )

    @field_validator("precision")
    @classmethod
    def _is_of_no_path(cls, precision: float | None, info: Any) -> float | None:
        if precision is not None and info.data.get("path") is not None:
            raise ValueError(
                "it cannot be asked together with --path, of which every passage tells"
            )
        return precision

    @field_validator("precision_of")
    @classmethod
    def _is_of_something(cls, whose: str, info: Any) -> str:
        if whose == "top" and info.data.get("precision", 0) is None:
            raise ValueError("it has no effect without --precision")
        if whose == "top" and info.data.get("aggregation_mode") == "rms":
            raise ValueError(
                "root mean squares of dimensions have no standard errors; use mean_abs"
            )
        return whose


def may_stop(options: Any) -> bool:
    """Return whether a survey with these options may stop before the end of its text."""
    return isinstance(options, PrecisionOptions) and options.precision is not None
