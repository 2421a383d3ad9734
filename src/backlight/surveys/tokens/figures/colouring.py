"""Points coloured by what is known of the prompts: a number, a word, or nothing."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from backlight.errors import shorten
from backlight.foreign.text import visible
from backlight.report.colours import PALETTE, SEQUENTIAL
from backlight.report.lines import sample
from backlight.tables import Column, Table

MARKERS = {"": "o", "train": "o", "test": "^"}
"""How points of the two splits are drawn, and those of no split."""

_OTHER_SPLIT = "s"
_UNKNOWN, _ALONE = "#b5bcc7", "#2b6cb0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Colouring:
    """How each prompt looks as a point, and in which order prompts go by their colours.

    Attributes:
        label: What colours stand for; empty if for nothing.
        colours: One for each prompt.
        order: A number for each prompt to sort by; NaN if its value is not known.
        splits: The split of each prompt, which has a marker; empty if there are no two.
        groups: The colour of each word; empty if colours stand for a number.
        norm: From numbers to 0..1; None if colours stand for no number.
    """

    label: str
    colours: Column
    order: NDArray[np.float64]
    splits: Column
    groups: dict[str, str] = field(default_factory=dict[str, str])
    norm: Normalize | None = None

    @staticmethod
    def of(prompts: Table, column: str | None) -> "Colouring":
        """Colour prompts by a column of their table.

        Args:
            prompts: The table.
            column: Which column; None for one colour.

        Returns:
            Numbers from dark to bright; of words, the ten most frequent by colour, then ``other``.
        """
        count, splits = prompts.num_rows, prompts.columns.get("split")
        if splits is None or len(np.unique(splits)) < 2:
            splits = np.full(count, "")
        if column is None:
            alone, order = np.full(count, _ALONE), np.full(count, np.nan)
            return Colouring(label="", colours=alone, order=order, splits=splits)
        values = prompts[column]
        label = visible(prompts.label(column).removesuffix(" value"), blanks=False)
        if values.dtype.kind == "U":
            return _by_word(values, label, splits)
        return _by_number(values.astype(np.float64), label, splits)

    def draw(self, axes: Axes, x: Column, y: Column, rows: Column) -> list[PathCollection]:
        """Draw some prompts as points.

        Args:
            axes: Where to draw; the caller owns the figure.
            x: Their horizontal places.
            y: Their vertical places.
            rows: Which prompts they are.

        Returns:
            The points, by split.
        """
        drawn: list[PathCollection] = []
        splits, colours = self.splits[rows], self.colours[rows]
        looks: dict[str, Any] = {"alpha": 0.85, "linewidths": 0.3, "edgecolors": "white"}
        for split in dict.fromkeys(splits.tolist()):
            own = splits == split
            marker, size = MARKERS.get(split, _OTHER_SPLIT), 26 if len(rows) <= 300 else 12
            points = axes.scatter(x[own], y[own], c=colours[own], marker=marker, s=size, **looks)
            drawn.append(points)
        return drawn

    def bar(self) -> ScalarMappable | None:
        """Return what a colour bar shows; None if colours stand for no number."""
        return None if self.norm is None else ScalarMappable(self.norm, SEQUENTIAL)

    def samples(self) -> list[tuple[Line2D, str]]:
        """List a legend's entries: the colours of words, then the markers of splits."""
        words = [(sample(colour, "o", line=""), word) for word, colour in self.groups.items()]
        splits = [
            (sample("#555555", MARKERS.get(split, _OTHER_SPLIT), line=""), split)
            for split in dict.fromkeys(self.splits.tolist())
            if split
        ]
        between = [(sample("none", line=""), "split:")] if words and splits else []
        return [*words, *between, *splits]


def _by_number(values: Column, label: str, splits: Column) -> Colouring:
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    norm = Normalize(low, high) if low < high else Normalize(low - 0.5, high + 0.5)
    colormap = colormaps[SEQUENTIAL].with_extremes(bad=_UNKNOWN)
    colours = colormap(norm(np.ma.masked_invalid(values)))
    return Colouring(label=label, colours=colours, order=values, splits=splits, norm=norm)


def _by_word(values: Column, label: str, splits: Column) -> Colouring:
    words = [str(value) for value in values]
    counts = Counter(words)
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[: len(PALETTE)]
    names = {word: shorten(visible(word, blanks=False), 24) or "(none)" for word in frequent}
    groups = {names[word]: PALETTE[place] for place, word in enumerate(frequent)}
    rest = "all others" if "other" in groups else "other"
    if len(counts) > len(PALETTE):
        groups[rest] = _UNKNOWN
    keys = list(groups)
    places = [keys.index(names.get(word, rest)) for word in words]
    return Colouring(
        label=label,
        colours=np.array([groups[keys[place]] for place in places]),
        order=np.array(places, dtype=np.float64),
        splits=splits,
        groups=groups,
    )
