"""Options of ``backlight merge``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from backlight.surveys.driver.options.shared import ShownOptions


class MergeConfig(ShownOptions):
    """Finish a run whose parts were measured by `backlight worker`, or say what is missing.

    Workers must be done: what one is just writing would be taken for the rest of a killed one.
    """

    run_dir: Annotated[Path, Parameter(parse=False)] = Field(
        description="The run directory, with the files of all parts."
    )
