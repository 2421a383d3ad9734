"""Options of ``backlight doctor``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from backlight.surveys.driver.options import ModelOptions, TextOptions


class DoctorConfig(TextOptions, ModelOptions):
    """What is to be judged: the log of a training, or a model and one batch of text."""

    run_dir: Annotated[Path | None, Parameter(parse=False)] = Field(
        default=None,
        description="Directory that backlight.watch wrote, or the log of another tool: "
        "trainer_state.json, JSON lines, CSV, event files of TensorBoard, console lines, or a "
        "folder that holds it. Without it, one batch of --dataset goes through --model_name.",
    )
    html: Path | None = Field(
        default=None, description="Also write what was found to this file, as one page."
    )
