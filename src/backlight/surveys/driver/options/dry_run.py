"""The option that tells what a survey would take, before anything is measured."""

from pydantic import Field

from backlight.surveys.driver.options.shared import Flag, Options


class DryRunOptions(Options):
    """Whether a survey only says what it would do; no number depends on it."""

    dry_run: Flag = Field(
        default=False,
        description="Measure and write nothing: open model and text, try a few batches, and say "
        "how many passages, tokens, batches and passes there are, and about how much memory and "
        "time they take on this machine.",
    )
