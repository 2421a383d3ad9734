"""What the figures of a run show, collected from its results."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import ConfigError, listed, quoted
from backlight.models.sites import kind_of
from backlight.runs.results import Results
from backlight.tables import Table

_OBJECTIVES = {
    "loss": "loss of the answer",
    "logit": "logit of the answer",
    "logit_difference": "logit of the answer less that of the wrong one",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the figures of a run show.

    Attributes:
        title: What was measured, for titles.
        color_by: The column of ``prompts`` that colours points; None for none.
        num_input: How many of the positions are of the input: those of the answer follow.
        positions: The table by site, head and position.
        prompts: The table by prompt.
        geometry: The table by site and target position.
        arrays: The arrays by name, see ``backlight.tokens``; whole vectors are not needed.
    """

    title: str
    color_by: str | None
    num_input: int
    positions: Table
    prompts: Table
    geometry: Table
    arrays: Mapping[str, NDArray[Any]]

    @staticmethod
    def of(results: Results) -> "Shown":
        """Collect what is shown.

        Args:
            results: The run.

        Returns:
            What is shown.

        Raises:
            ConfigError: If the prompts do not have the value that is to colour points.
        """
        options, tables = results.config, results.tables
        asked = options["task_type"] or options["template"]
        model = _brief(str(results.metadata["checkpoint_path"]))
        objective = _OBJECTIVES[options["objective"]]
        names = tables["positions"]["position"]
        answered = [str(name) == "answer" or str(name).startswith("answer_") for name in names]
        return Shown(
            title=f"{asked} | objective: {objective} | model: {model}",
            color_by=_colour(options["color_by"], tables["prompts"]),
            num_input=int((~np.array(answered) * (tables["positions"]["column"] + 1)).max()),
            positions=tables["positions"],
            prompts=tables["prompts"],
            geometry=tables["geometry"],
            arrays=results.data,
        )

    @property
    def kinds(self) -> list[str]:
        """The kinds of sites in their order."""
        return list(dict.fromkeys(kind_of(str(site)) for site in self.positions["site"]))

    @property
    def of_prompts(self) -> str:
        """Over how many prompts something is a mean, in words."""
        count = self.prompts.num_rows
        return f"all {count:,} prompts" if count > 1 else "the only prompt"

    def suffix_of(self, kind: str) -> str:
        """Return what a file name has for a kind of site: the first has the plain name."""
        return "" if kind == self.kinds[0] else f"_{kind}"

    def input_of(self, kind: str) -> tuple[Table, Table]:
        """Select one kind of site, and only the tokens of the input.

        Args:
            kind: The kind of site.

        Returns:
            The rows of whole vectors, and those of single heads.
        """
        own = np.array([kind_of(str(site)) == kind for site in self.positions["site"]])
        table = self.positions.select(own & (self.positions["column"] < self.num_input))
        is_whole = np.isnan(table["head"])
        return table.select(is_whole), table.select(~is_whole)


def _brief(model: str) -> str:
    """Name a model in a folder by the end of its path, which is the same on every machine."""
    path = Path(model)
    return "/".join(path.parts[-2:]) if path.is_absolute() else model


def _colour(asked: str | None, prompts: Table) -> str | None:
    """Choose the column that colours points: what was asked for, else a number for an answer."""
    if asked is None:
        return "answer_value" if "answer_value" in prompts.columns else None
    if asked not in prompts.columns:
        known = listed(prompts.columns)
        raise ConfigError(
            f"There is no value {quoted(asked)} to colour by; the prompts have {known}."
        )
    return asked
