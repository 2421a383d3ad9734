"""Options of ``backlight flow``."""

from typing import Literal

from pydantic import Field

from backlight.surveys.driver.options.dry_run import DryRunOptions
from backlight.surveys.driver.options.memory import MemoryOptions
from backlight.surveys.driver.options.shared import (
    BackwardOptions,
    CheckOptions,
    CorpusOptions,
    Layers,
    LossReduction,
    ModelOptions,
    ShownRunOptions,
)
from backlight.surveys.driver.options.workers import WorkerOptions


class FlowConfig(
    ShownRunOptions,
    CheckOptions,
    WorkerOptions,
    MemoryOptions,
    DryRunOptions,
    CorpusOptions,
    BackwardOptions,
    ModelOptions,
):
    """Measure what norms, attention and residual paths do to the gradient on its way back.

    One forward and one backward pass over a corpus serves all views. Prints what was found in three
    sentences, and what stands out in each view; with --table whole tables. With --save_outputs or
    --output_dir it also writes tables and figures, and the model as a drawing of its gradient's
    paths.
    """

    view: Literal["all", "norms", "attention", "residual"] = Field(
        default="all",
        description="What is measured: what norms take out of the gradient, how it passes "
        "attention, or how it goes around and through the blocks.",
    )
    layers: Layers = "all"
    loss_reduction: LossReduction = "sequence_mean"

    @property
    def views(self) -> tuple[Literal["norms", "attention", "residual"], ...]:
        """The views one by one."""
        return ("norms", "attention", "residual") if self.view == "all" else (self.view,)
