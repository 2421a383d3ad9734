"""Options of ``backlight export``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from backlight.surveys.driver.options import Flag, Options


class ExportConfig(Options):
    """Write which dimensions or features a comparison found, in the form that other tools read.

    Takes a saved comparison of runs of `layers` or `sae`; no model is loaded, and nothing is sent
    anywhere.
    """

    run: Annotated[Path, Parameter(parse=False)] = Field(
        description="The directory of a comparison."
    )
    to: Literal["indices"] = Field(
        default="indices",
        description="indices: JSON with the numbers of the units of each layer, the surest first, "
        "and their difference and q.",
    )
    output: Path = Field(description="The file to write.")
    overwrite: Flag = Field(default=False, description="Replace the file, if it is there.")
    q: float = Field(
        default=0.05, gt=0, le=1, description="The largest false discovery rate of a unit."
    )
    top: int | None = Field(
        default=None, gt=0, description="How many units of each layer at most. [default: all]"
    )
    side: Literal["a", "b", "both"] = Field(
        default="both", description="The run in which units are higher."
    )
