"""Options of ``backlight stability``."""

from pathlib import Path

from pydantic import Field

from backlight.surveys.driver.options.shared import ShownRunOptions


class StabilityConfig(ShownRunOptions):
    """Tell how much of a run's ranking another half of its text would repeat.

    The groups of passages that a run of `layers`, or of `sae` with --keep_groups, has kept are
    split into random halves again and again: how well do the rankings of both halves agree, how
    much of the largest do they share, and how many passages would be enough? Reads the run alone:
    no model is loaded.
    """

    run: Path | None = Field(
        default=None,
        description="The directory of a finished run; or the config.yaml of an earlier `backlight "
        "stability`. [required]",
    )
    splits: int = Field(default=50, gt=1, le=10000, description="How many times it is split.")
    top: int = Field(
        default=50, gt=0, description="How many of the largest of each layer the overlap is of."
    )
    agreement: float = Field(
        default=0.9,
        gt=0,
        lt=1,
        description="The rank agreement of two runs for which the number of passages is told.",
    )
    seed: int = Field(default=0, ge=0, description="Determines the halves.")
