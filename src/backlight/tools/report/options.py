"""Options of ``backlight report``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from backlight.surveys.driver.options import Options


class ReportConfig(Options):
    """Redraw every figure of a finished run from its files, without the model."""

    run_dir: Annotated[Path, Parameter(parse=False)] = Field(description="The run directory.")
