"""Options of ``backlight compare``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from backlight.surveys.driver.options.shared import Listed, ShownRunOptions

RANKINGS = ("crisp", "saebench", "dsg", "gradient")
"""What features can be ranked by besides."""

MAY_DIFFER: Mapping[str, tuple[str, ...]] = {
    "site": ("site", "sites"),
    "dictionary": ("sae_path",),
    "splice": ("splice",),
    "quantity": ("aggregate_by", "objective"),
    "reduction": ("loss_reduction",),
    "tokens": ("loss_on", "active_only", "position_stride"),
    "backward": ("backward",),
    "path": ("path",),
    "tokenizer": (),
}
"""What must be alike unless it is allowed to differ, by the options that tell of it."""


class CompareConfig(ShownRunOptions):
    """Compare two finished runs, and tell which differences are more than chance.

    Every dimension, feature, head or position of two runs of `layers`, `sae`, `flow` or `tokens` is
    compared with the other run's: difference, logarithm of the ratio, standard errors over passages
    (paired where both runs read the same), and the false discovery rate among all that is compared.
    More than two runs are a series, such as the checkpoints of a training. Reads the runs alone: no
    model is loaded.
    """

    runs: tuple[Path, ...] = Field(
        default=(),
        description="The directories of two finished runs, or of more for a series; or the "
        "config.yaml of an earlier comparison. [required]",
    )
    against: Literal["first", "previous"] = Field(
        default="first",
        description="Of a series, what each run is compared with: the first, or the one before.",
    )
    statistic: Listed | None = Field(
        default=None,
        description="What is compared: of layers and sae mean or mean_abs; of flow and tokens any "
        "column that has a standard error, such as z_norm, several with commas. [default: of "
        "layers and sae what the first run aggregated, otherwise all]",
    )
    q: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="The false discovery rate (Benjamini-Hochberg) up to which a difference is "
        "told as sure.",
    )
    top: int = Field(
        default=50, gt=0, description="How many of the largest of each layer the overlap is of."
    )
    rank_by: Listed | None = Field(
        default=None,
        description="Of runs of sae, also list the features of the first run as other tools would, "
        "several with commas: crisp, saebench or dsg (by how often and how strongly features fire "
        "in the first text and not in the second), gradient (what surely is higher in the first, "
        "by t). Runs with --splice error need --record_activity for the first three.",
    )
    ranked: int | None = Field(
        default=None,
        gt=0,
        description="How many features of each layer a ranking lists. [default: as its tool does: "
        "10 of crisp, 20 of the others]",
    )
    allow_different: Listed | None = Field(
        default=None,
        description=f"Compare although these differ; several with commas: {', '.join(MAY_DIFFER)}.",
    )
    seed: int = Field(default=0, ge=0, description="Determines what noise alone would overlap.")

    @field_validator("runs", mode="before")
    @classmethod
    def _are_several(cls, runs: Any) -> Any:
        return (runs,) if isinstance(runs, (str, Path)) else runs

    @field_validator("allow_different")
    @classmethod
    def _are_known(cls, text: str | None) -> str | None:
        for word in words_in(text):
            if word not in MAY_DIFFER:
                raise ValueError(f"write one or more of {', '.join(MAY_DIFFER)}")
        return text

    @field_validator("rank_by")
    @classmethod
    def _are_rankings(cls, text: str | None) -> str | None:
        if any(word not in RANKINGS for word in words_in(text)):
            raise ValueError(f"write one or more of {', '.join(RANKINGS)}")
        return text

    @property
    def rankings(self) -> tuple[str, ...]:
        """What features are ranked by besides, one by one."""
        return words_in(self.rank_by)

    @property
    def statistics(self) -> tuple[str, ...]:
        """What is compared, one by one; none for the default."""
        return words_in(self.statistic)

    @property
    def allowed(self) -> tuple[str, ...]:
        """What may differ, one by one."""
        return words_in(self.allow_different)


def words_in(text: str | None) -> tuple[str, ...]:
    """List the words of a list with commas, each once."""
    words = (word.strip() for word in (text or "").split(","))
    return tuple(dict.fromkeys(word for word in words if word))
