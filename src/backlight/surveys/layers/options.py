"""Options of ``backlight layers``."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from backlight.surveys.driver.options.dry_run import DryRunOptions
from backlight.surveys.driver.options.memory import MemoryOptions
from backlight.surveys.driver.options.precision import PrecisionOptions
from backlight.surveys.driver.options.shared import (
    Layers,
    PathOptions,
    Quantity,
    SurveyConfig,
)
from backlight.surveys.driver.options.workers import WorkerOptions

_SECOND_ORDER = {
    "fisher": "squares have no sign",
    "hessian_diagonal": "the size of a noisy estimate is mostly its noise",
}
_NUM_PROBES = 2


class LayersConfig(
    PrecisionOptions, PathOptions, WorkerOptions, MemoryOptions, DryRunOptions, SurveyConfig
):
    """Measure the gradient of the loss at every layer, over a corpus, in one pass.

    Prints what was found in three sentences, and the largest layers and dimensions with standard
    errors; with --table a line for each layer. With --save_outputs or --output_dir it also writes
    arrays, tables and figures.
    """

    layers: Layers = "all"
    site: str = Field(
        default="mlp.out",
        description="The site of each layer: any kind that `backlight sites MODEL` lists.",
    )
    probes: int | None = Field(
        default=None,
        gt=0,
        description="Of hessian_diagonal: how many random probes, drawn from --seed, each passage "
        "has at each site. One costs about 0.3 + 0.8 (L - k) / L of a pass at layer k of L. "
        f"[default: {_NUM_PROBES}]",
    )

    @model_validator(mode="before")
    @classmethod
    def _second_order_is_a_mean(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("aggregate_by") in _SECOND_ORDER:
            return {"aggregation_mode": "mean", **given}
        return given

    @field_validator("aggregate_by")
    @classmethod
    def _has_that_mode(cls, quantity: Quantity, info: Any) -> Quantity:
        if quantity in _SECOND_ORDER and info.data.get("aggregation_mode", "mean") != "mean":
            raise ValueError(f"it takes --aggregation_mode mean only: {_SECOND_ORDER[quantity]}")
        return quantity

    @field_validator("probes")
    @classmethod
    def _has_an_effect(cls, probes: int | None, info: Any) -> int | None:
        if probes is not None and info.data.get("aggregate_by") != "hessian_diagonal":
            raise ValueError("it has no effect without --aggregate_by hessian_diagonal")
        return probes

    @property
    def num_probes(self) -> int:
        """The number of probes, also where none is given."""
        return self.probes or _NUM_PROBES
