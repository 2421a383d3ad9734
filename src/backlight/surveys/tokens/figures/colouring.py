"""Points coloured by what is known of the prompts: a number, a word, or nothing."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from backlight.errors import shorten
from backlight.report.colours import PALETTE, SEQUENTIAL
from backlight.report.lines import sample
from backlight.report.visible import visible
from backlight.tables import Column, Table

MARKERS = {"train": "o", "test": "^"}
"""How points of the two splits are drawn."""

_UNKNOWN, _ALONE = "#b5bcc7", "#2b6cb0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Colouring:
    """Which colour each prompt has, and in which order prompts go by it.

    Attributes:
        label: What colours stand for; empty if for nothing.
        colours: One for each prompt.
        order: A number for each prompt to sort by; NaN if its value is not known.
        groups: The colour of each word; empty if colours stand for a number.
        norm: From numbers to 0..1; None if colours stand for no number.
    """

    label: str
    colours: Column
    order: NDArray[np.float64]
    groups: dict[str, str]
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
        if column is None:
            alone, unknown = np.full(prompts.num_rows, _ALONE), np.full(prompts.num_rows, np.nan)
            return Colouring(label="", colours=alone, order=unknown, groups={})
        values = prompts[column]
        label = visible(prompts.label(column).removesuffix(" value"), blanks=False)
        if values.dtype.kind == "U":
            return _by_word(values, label)
        return _by_number(values.astype(np.float64), label)

    def draw(
        self,
        axes: Axes,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        rows: NDArray[np.int64],
        markers: Column,
    ) -> None:
        """Draw some prompts as points.

        Args:
            axes: Where to draw; the caller owns the figure.
            x: Their horizontal places.
            y: Their vertical places.
            rows: Which prompts they are.
            markers: The marker of every prompt.
        """
        for marker in dict.fromkeys(markers[rows].tolist()):
            own = markers[rows] == marker
            axes.scatter(
                x[own],
                y[own],
                c=self.colours[rows][own],
                marker=marker,
                s=26 if len(rows) <= 300 else 12,
                alpha=0.85,
                linewidths=0.3,
                edgecolors="white",
            )

    def bar(self) -> ScalarMappable | None:
        """Return what a colour bar shows; None if colours stand for no number."""
        return None if self.norm is None else ScalarMappable(self.norm, SEQUENTIAL)

    def samples(self) -> list[tuple[Line2D, str]]:
        """List a legend's entries for words: a sample point and the word."""
        return [(sample(colour, "o", line=""), word) for word, colour in self.groups.items()]


def split_markers(prompts: Table) -> tuple[Column, list[tuple[Line2D, str]]]:
    """Choose a marker for each prompt by its split.

    Args:
        prompts: The table of prompts.

    Returns:
        The marker of each, and a legend's entries; none if there are no two splits.
    """
    if "split" not in prompts.columns or len(np.unique(prompts["split"])) < 2:
        return np.full(prompts.num_rows, MARKERS["train"]), []
    markers = np.array([MARKERS.get(str(split), "s") for split in prompts["split"]])
    names = dict.fromkeys(prompts["split"].tolist())
    entries = [(sample("#555555", MARKERS.get(name, "s"), line=""), name) for name in names]
    return markers, entries


def _by_number(values: NDArray[np.float64], label: str) -> Colouring:
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    norm = Normalize(low, high) if low < high else Normalize(low - 0.5, high + 0.5)
    colormap = colormaps[SEQUENTIAL].with_extremes(bad=_UNKNOWN)
    colours = colormap(norm(np.ma.masked_invalid(values)))
    return Colouring(label=label, colours=colours, order=values, groups={}, norm=norm)


def _by_word(values: Column, label: str) -> Colouring:
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
        groups=groups,
    )
