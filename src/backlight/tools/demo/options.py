"""Options of ``backlight demo``."""

from pathlib import Path

from pydantic import Field

from backlight.surveys.driver.options.shared import Options


class DemoConfig(Options):
    """Run the main jobs on a real model (SmolLM2-135M), a shipped dictionary and shipped text."""

    output_dir: Path = Field(
        default=Path("runs/demo"),
        description="Where results are written; an earlier demo there is replaced.",
    )
