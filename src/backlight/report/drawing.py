"""What can be drawn of a run: names first, each figure when it is wanted, and not before.

Loading this loads no matplotlib.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from backlight.errors import listed, nearest, quoted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Wanted = Literal["all", "overview", "none"]
"""Which figures are drawn: every one, those that are not of one part of the run, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure that can be drawn.

    Attributes:
        name: The file that it is written to, such as ``depth_profile.png``.
        is_overview: It is not of one layer, one prompt or one target alone.
        make: Draws it. The figure may be drawn on anew by ``make`` of the next one that the same
            door yields, so it is rendered before.
    """

    name: str
    is_overview: bool = True
    make: Callable[[], "Figure"]

    @property
    def key(self) -> str:
        """The name without folder and ending, such as ``depth_profile``."""
        return PurePosixPath(self.name).stem


def wanted_of(drawings: Iterable[Drawing], wanted: Wanted) -> Iterator[Drawing]:
    """Choose drawings.

    Args:
        drawings: What can be drawn.
        wanted: Which are wanted.

    Yields:
        Those that are.
    """
    for drawing in drawings:
        if wanted == "all" or (wanted == "overview" and drawing.is_overview):
            yield drawing


_MOST_NAMES = 40  # that are told when one is missing


class Figures(Mapping[str, "Figure"]):
    """The figures of a run by their names, drawn anew each time that one is asked for."""

    def __init__(self, draw: Callable[[], Iterable[Drawing]]) -> None:
        """Remember how to draw; nothing is drawn.

        Args:
            draw: Lists what can be drawn, each time anew, so that no figure is drawn over.
        """
        self._draw = draw

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(drawing.key for drawing in self._draw()))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in list(iter(self))

    def __getitem__(self, name: str) -> "Figure":
        for drawing in self._draw():
            if name in (drawing.key, drawing.name):
                return drawing.make()
        raise KeyError(self._missing(name))

    def __repr__(self) -> str:
        return f"Figures: {', '.join(self) or 'none'}"

    def _missing(self, name: str) -> str:
        names = list(self)
        there = f"There are {listed(names, most=_MOST_NAMES) or 'none'}."
        hint = nearest(str(name), names)
        return " ".join(filter(None, (f"The run has no figure {quoted(name)}.", hint, there)))
