"""Grids of layers and tokens, of one kind of site, and why some of their cells have no colour."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backlight.foreign.text import visible
from backlight.report.page.views import Cells, Numbers, Scale
from backlight.surveys.tokens.labels import label_of
from backlight.surveys.tokens.shown import Shown
from backlight.tables import Table

REASONS = (
    "zero by causality",
    "measured as exactly zero",
    "no such token in this prompt",
)
"""Why a cell has no colour; the number of a reason is its place, from 1."""

MEASURES: dict[str, Scale] = {
    "gradient_norm": "log",
    "grad_x_act": "signed",
    "activation_norm": "log",
}
"""What is measured at each place, and how it is coloured."""

_STRUCTURAL, _ZERO, _ABSENT = 1, 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The sites of one kind, from the first layer to the last, and the tokens: input, then answer.

    Attributes:
        shown: The run.
        kind: The kind of site.
        head: Which head of each site; None for whole vectors.
        table: The rows of the table of positions: sites x positions.
    """

    shown: Shown
    kind: str
    head: int | None
    table: Table

    @property
    def name(self) -> str:
        """What the grid is called among all grids."""
        return self.kind if self.head is None else f"{self.kind}, head {self.head}"

    @property
    def sites(self) -> list[str]:
        """The sites."""
        return list(dict.fromkeys(map(str, self.table["site"])))

    @property
    def width(self) -> int:
        """How many tokens there are."""
        return self.table.num_rows // len(self.sites)

    @property
    def rows(self) -> list[str]:
        """What each site is called: the number of its layer, or its name if it has none."""
        layers = self.table["layer"][:: self.width]
        return [
            site if np.isnan(layer) else f"{layer:.0f}"
            for site, layer in zip(self.sites, layers, strict=True)
        ]

    @property
    def labels(self) -> list[str]:
        """What stands at each position: the token, or the field where prompts differ."""
        return [
            label_of(str(token), str(name)).replace("\n", " ")
            for token, name in zip(self.table["token"], self.names, strict=False)
        ]

    @property
    def names(self) -> list[str]:
        """The names of the positions."""
        return [str(name) for name in self.table["position"][: self.width]]

    def column(self, name: str) -> Numbers:
        """Arrange a column of the table as sites x positions."""
        return self.table[name].astype(np.float64).reshape(-1, self.width)

    def means(self, measure: str) -> Cells:
        """Show the means over all prompts, with their standard errors."""
        values = self.column(measure)
        structural = (self.column("num_reaching") == 0) & (measure != "activation_norm")
        return Cells(
            values=values,
            label=f"mean {self.table.label(measure)}",
            scale=MEASURES[measure],
            columns=self.labels,
            names=self._counted(),
            marks=marks_of(values, structural),
            errors=self.column(f"{measure}_se"),
        )

    def single(self, measure: str, prompt: int) -> Cells:
        """Show the numbers of one prompt, with its own tokens."""
        arrays, head = self.shown.arrays, 0 if self.head is None else self.head + 1
        places = slice(0, self.width)
        values = np.stack([arrays[f"{s}/{measure}"][prompt, head, places] for s in self.sites])
        reached = np.stack([arrays[f"{site}/reachable"][prompt, places] for site in self.sites])
        values = values.astype(np.float64)
        return Cells(
            values=values,
            label=self.table.label(measure),
            scale=MEASURES[measure],
            columns=self._tokens_of(prompt),
            names=self.names,
            marks=marks_of(values, ~reached & (measure != "activation_norm")),
        )

    def _counted(self) -> list[str]:
        """Say of positions that only some prompts have, how many these are."""
        counts, total = self.table["num_prompts"][: self.width], self.shown.prompts.num_rows
        return [
            name if count == total else f"{name}, in {count:,} prompts"
            for name, count in zip(self.names, counts.tolist(), strict=True)
        ]

    def _tokens_of(self, prompt: int) -> Sequence[str]:
        tokens = self.shown.arrays.get("tokens")
        if tokens is None:  # a run of before these were kept
            return self.labels
        own = map(str, tokens[prompt, : self.width])
        return [
            visible(token) if token else label
            for token, label in zip(own, self.labels, strict=True)
        ]


def marks_of(values: Numbers, structural: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Find the cells that have no colour, and the number of each one's reason.

    Args:
        values: The numbers; NaN where there is no such token.
        structural: Which are zero whatever the model's weights are.

    Returns:
        The numbers of reasons, 0 for cells with a colour; None if all have one.
    """
    conditions = [np.isnan(values), structural, values == 0]
    marks = np.select(conditions, [_ABSENT, _STRUCTURAL, _ZERO], 0)
    return marks if marks.any() else None


def grids_of(shown: Shown) -> list[Grid]:
    """List the grids of a run: each kind of site, as whole vectors and then head by head."""
    found: list[Grid] = []
    for kind in shown.kinds:
        whole, heads = shown.tables_of(kind)
        found.append(Grid(shown=shown, kind=kind, head=None, table=whole))
        found += [
            Grid(shown=shown, kind=kind, head=int(head), table=heads.select(heads["head"] == head))
            for head in np.unique(heads["head"])
        ]
    return found
