"""Options of ``backlight doctor``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from backlight.surveys.driver.options.shared import ModelOptions, TextOptions


class DoctorConfig(TextOptions, ModelOptions):
    """Say whether the gradient of a training is healthy, and if not: where, since when, and why.

    Reads what backlight.watch wrote, during or after the training, or a log of JSON lines such as
    {"step": 1, "grad_norm": 0.3, "loss": 2.1}. Without one, a batch of --dataset goes through
    --model_name, forward and backward. The exit status is 0 for healthy, 1 if there are findings.
    """

    run_dir: Annotated[Path | None, Parameter(parse=False)] = Field(
        default=None,
        description="Directory that backlight.watch wrote, or the log of another tool: "
        "trainer_state.json, JSON lines, CSV, event files of TensorBoard, console lines, or a "
        "folder that holds it. Without it, one batch of --dataset goes through --model_name.",
    )
    html: Path | None = Field(
        default=None, description="Also write the findings to this file, as one page."
    )
