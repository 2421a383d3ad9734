"""Which vectors a run kept, and which of them a small figure shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from backlight.models.sites import kind_of, layer_of
from backlight.surveys.tokens.figures.shown import Shown
from backlight.surveys.tokens.names import key_of

_MOST = 6

_Item = TypeVar("_Item")


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
    def name(self) -> str:
        """The target, for titles."""
        layer, kind = layer_of(self.site), kind_of(self.site)
        place = self.site if layer is None else f"{kind} of layer {layer}"
        return f"{place}, {self.position}"

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
