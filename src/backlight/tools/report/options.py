"""Options of ``backlight report``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from backlight.surveys.driver.options.shared import Options


class ReportConfig(Options):
    """Redraw the figures and the page of a finished run from its files, without the model."""

    run_dir: Annotated[Path, Parameter(parse=False)] = Field(description="The run directory.")
    figures: Literal["all", "overview"] = Field(
        default="all",
        description="Every figure, or only those that are not of one layer, prompt or target.",
    )
