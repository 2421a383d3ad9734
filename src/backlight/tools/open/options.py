"""Options of ``backlight open``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from backlight.surveys.driver.options.shared import Flag, Listed, Options


class OpenConfig(Options):
    """Open the page of a run, of a training's log, or of all runs in a folder, in the browser.

    The page of a finished run is written if it is not there. That of a log holds the findings of
    the doctor and is always written anew, beside the log. Of a folder that holds runs, an index is
    written: command, model, text, date, state and first picture of each. Where no browser can be
    opened, only the page's path is printed.
    """

    run_dir: Annotated[Path, Parameter(parse=False)] = Field(
        default=Path("runs"),
        description="A run directory, a directory that backlight.watch wrote, the log of another "
        "tool, or a folder of runs. [default: runs]",
    )
    again: Flag = Field(
        default=False,
        description="Write the page of a run anew if it is there; of a folder, the pages of all "
        "its runs and logs.",
    )
    statistics: Listed | None = Field(
        default=None,
        description="Which numbers of every feature the page of a run of sae holds, such as "
        "mean,frequency; it is written anew.",
    )
    no_browser: Flag = Field(default=False, description="Only write the page and print its path.")
