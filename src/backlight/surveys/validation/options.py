"""Options of ``backlight validate``."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from backlight.surveys.driver.options.shared import Listed, ShownRunOptions

KINDS: Mapping[str, str] = {
    "dimension": "single dimensions",
    "feature": "dictionary features",
    "head": "heads",
    "site": "whole outputs",
    "position": "whole vectors at a position",
}
"""Kinds of units, with what several of them are called."""

ABLATIONS: Mapping[str, str] = {
    "zero": "set to zero",
    "mean": "set to their mean over the tokens",
    "resample": "set to what they are in another passage",
}
"""What takes a unit's place, in words."""

_TIME = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)\s*(s|m|h)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


class ValidateConfig(ShownRunOptions):
    """Test how well the gradients of a run predict what happens without a unit.

    Units that the run measured (dimensions, features, heads, whole outputs, positions of prompts)
    are set to zero one by one, and the change of the loss is compared with what the gradient
    predicts: half of them the largest, half drawn at random, in random order until the budget
    ends. Prints whether the numbers can be trusted, for which kind of unit and up to which size.
    """

    only_ends: ClassVar[frozenset[str]] = frozenset({"budget"})

    run: Path | None = Field(
        default=None,
        description="The run directory of `backlight layers`, `sae`, `tokens` or `flow`; or the "
        "config.yaml of an earlier validation. [required]",
    )
    budget: str = Field(
        default="5m",
        description="How long the command may take, such as 90s, 5m or 2h; what is left to do then "
        "is left out.",
    )
    units: int | None = Field(
        default=None, gt=0, description="How many units are tested at most. [default: by budget]"
    )
    ablation: Listed = Field(
        default="zero",
        description="What takes a unit's place: zero, mean (over the tokens), resample (what it is "
        "in another passage); several with commas.",
    )
    unit: Listed | None = Field(
        default=None,
        description="Kinds of units: dimension, feature, head, site, position; several with "
        "commas. [default: those of the run]",
    )
    passages: int = Field(
        default=8, gt=1, le=64, description="How many passages of the run's text are used."
    )
    passage_length: int = Field(
        default=48, gt=1, description="Tokens after which they are cut; prompts are not cut."
    )
    seed: int = Field(default=0, ge=0, description="Determines which units and passages are drawn.")

    @field_validator("budget")
    @classmethod
    def _is_a_time(cls, text: str) -> str:
        match = _TIME.fullmatch(text.strip())
        if match is None or float(match[1]) == 0:
            raise ValueError("write a time such as 90s, 5m or 2h")
        return text

    @field_validator("ablation", "unit")
    @classmethod
    def _is_known(cls, text: str | None, info: object) -> str | None:
        known = ABLATIONS if getattr(info, "field_name", "") == "ablation" else KINDS
        for word in names_in(text):
            if word not in known:
                raise ValueError(f"write one or more of {', '.join(known)}")
        if text is not None and not names_in(text):
            raise ValueError("name at least one")
        return text

    @property
    def seconds(self) -> float:
        """The budget in seconds."""
        match = _TIME.fullmatch(self.budget.strip())
        assert match is not None  # the field's pattern
        return float(match[1]) * _SECONDS[match[2]]

    @property
    def ablations(self) -> tuple[str, ...]:
        """What takes a unit's place, one by one."""
        return names_in(self.ablation)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of units that were asked for; none for those of the run."""
        return names_in(self.unit)


def names_in(text: str | None) -> tuple[str, ...]:
    """List the words of a list with commas, each once."""
    words = (word.strip() for word in (text or "").split(","))
    return tuple(dict.fromkeys(word for word in words if word))
