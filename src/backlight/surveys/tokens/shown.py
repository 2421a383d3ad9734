"""What figures and pages of a run show: tables and arrays, and the targets with kept vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from backlight.errors import ConfigError, listed, quoted
from backlight.models.backward_rules.rule import beside
from backlight.models.sites import kind_of, layer_of
from backlight.runs.results import Results
from backlight.surveys.driver.words.path import titled
from backlight.surveys.tokens.names import key_of
from backlight.tables import Table

_MOST = 6

_Item = TypeVar("_Item")
_OBJECTIVES = {
    "loss": "loss of the answer",
    "logit": "logit of the answer",
    "logit_difference": "logit of the answer less that of the wrong one",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What figures and page of a run show.

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
            title=f"{titled(f'{asked} | objective: {objective}', options)} | "
            f"model: {model}{beside(options)}",
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
        whole, heads = self.tables_of(kind)
        return (
            whole.select(whole["column"] < self.num_input),
            heads.select(heads["column"] < self.num_input),
        )

    def tables_of(self, kind: str) -> tuple[Table, Table]:
        """Select one kind of site, with the tokens of the input and of the answer.

        Args:
            kind: The kind of site.

        Returns:
            The rows of whole vectors, and those of single heads.
        """
        own = np.array([kind_of(str(site)) == kind for site in self.positions["site"]])
        table = self.positions.select(own)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A site and position at which the gradient vector of each prompt was kept.

    Attributes:
        site: The site.
        position: The position.
        column: Its column among all positions.
        key: What files about it are called.
        arrays: All arrays of the run.
    """

    site: str
    position: str
    column: int
    key: str
    arrays: Mapping[str, NDArray[Any]]

    @property
    def place(self) -> str:
        """The site, in words."""
        layer, kind = layer_of(self.site), kind_of(self.site)
        return self.site if layer is None else f"{kind} of layer {layer}"

    @property
    def name(self) -> str:
        """The target, for titles."""
        return f"{self.place}, {self.position}"

    @property
    def prompts(self) -> NDArray[np.int64]:
        """Which prompts have the position."""
        return self.array("prompts")

    @property
    def is_structural(self) -> bool:
        """Whether nothing there can reach the objective, in any prompt."""
        return not self.arrays[f"{self.site}/reachable"][:, self.column].any()

    @property
    def has_shape(self) -> bool:
        """Whether the vectors differ, so that there are components."""
        return f"{self.site}/{self.position}/scores" in self.arrays

    def array(self, name: str) -> NDArray[Any]:
        """Return one of the target's own arrays, such as ``scores``."""
        return self.arrays[f"{self.site}/{self.position}/{name}"]

    def norms(self) -> NDArray[np.float64]:
        """Return the norm of the gradient in each prompt that has the position."""
        return self.arrays[f"{self.site}/gradient_norm"][self.prompts, 0, self.column]


def find_targets(shown: Shown) -> list[Target]:
    """List the targets of a run, in the order of its table.

    Args:
        shown: The run.

    Returns:
        The targets; of the first kind of site, keys do not name the kind.
    """
    table, positions = shown.geometry, shown.positions
    columns = dict(zip(positions["position"].tolist(), positions["column"].tolist(), strict=True))
    pairs = list(zip(table["site"].tolist(), table["position"].tolist(), strict=True))
    return [
        Target(
            site=site,
            position=position,
            column=columns[position],
            key=key_of(site, position, kind_of(pairs[0][0])),
            arrays=shown.arrays,
        )
        for site, position in pairs
    ]


def choose_targets(targets: Sequence[Target]) -> list[list[Target]]:
    """Choose at most six targets that show much: few positions, layers far apart.

    Args:
        targets: Those that can be shown; at least one.

    Returns:
        Up to two rows of up to three, of one kind of site: of one position six layers, of two
        three each, of three two each; then layers are below each other, else side by side.
    """
    first = kind_of(targets[0].site)
    by_position: dict[str, list[Target]] = {}
    for target in targets:
        if kind_of(target.site) == first:
            by_position.setdefault(target.position, []).append(target)
    groups = _spread(list(by_position.values()), 3)
    chosen = [_spread(group, _MOST // len(groups)) for group in groups]
    if len(chosen) == 1:
        return [row for row in (chosen[0][:3], chosen[0][3:]) if row]
    if len(chosen) == 2:
        return chosen
    rows = ([group[place] for group in chosen if place < len(group)] for place in range(2))
    return [row for row in rows if row]


def _spread(items: Sequence[_Item], most: int) -> list[_Item]:
    """Choose the first, the last and some between, evenly."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]
