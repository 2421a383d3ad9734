"""Options of ``backlight worker``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from backlight.surveys.driver.options.shared import Options


class WorkerConfig(Options):
    """Measure a part of a run that `backlight plan` made; start one on each machine or device.

    Workers may write into one directory, or each into a copy of it: files of copies are put
    together by copying. What was measured before is not measured again.
    """

    run_dir: Annotated[Path, Parameter(parse=False)] = Field(
        description="The run directory that `backlight plan` made, or a copy of it."
    )
    part: str | None = Field(
        default=None,
        pattern=r"^\d+/[1-9]\d*$",
        description="Which part, I/N: every N-th shard from shard I on, I from 0. "
        "[default: RANK/WORLD_SIZE of the environment, as torchrun sets them]",
    )
