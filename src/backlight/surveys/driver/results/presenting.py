"""How the results of a survey, or of an experiment, are shown: given to them as they are made."""

import importlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from typing import Any, final

from backlight.errors import RunDirectoryError, quoted
from backlight.models.backward_rules.rule import told
from backlight.report.drawing import Drawing, Figures
from backlight.report.page.views import Page
from backlight.runs.results import Results
from backlight.surveys.driver.declaration import Survey
from backlight.surveys.driver.results.showing import page_of

_MOST_REMARKS = 2  # of an experiment, in its summary


@final
@dataclass(frozen=True, slots=True)
class SurveyPresentation:
    """How the results of a survey are shown.

    Attributes:
        survey: The survey.
    """

    survey: Survey

    def draw(self, results: Results) -> Iterable[Drawing]:
        """List the figures of results; this loads matplotlib, but draws nothing yet."""
        return self.survey.door("figures").draw(results)

    def figures(self, results: Results) -> Figures:
        """Offer the figures of results by name; nothing is loaded or drawn yet."""
        return Figures(partial(self.draw, results))

    def summary(self, results: Results) -> Sequence[str]:
        """Say what was asked and found in three sentences at most; a backward rule comes first."""
        return [*told(results.config), *self.survey.door("printed").summary(results)]

    def picture(self, results: Results) -> bytes | None:
        """Draw the figure that says most, as a PNG."""
        return _picture(self.draw(results), self.survey.picture)

    def page(self, results: Results, **chosen: Any) -> Page:
        """Put the page of results together.

        Args:
            results: The results.
            **chosen: What the page shows of all that it could, as the survey takes it.

        Returns:
            The page.
        """
        views = self.survey.door("page").views(results, **chosen)
        return page_of(results, self.survey.name, self.summary(results), views)


@final
@dataclass(frozen=True, slots=True)
class LabPresentation:
    """How the results of an experiment are shown: as their metadata say.

    Attributes:
        command: The command of the experiment, such as ``lab clipping``.
    """

    command: str

    def draw(self, results: Results) -> Iterable[Drawing]:
        """List the figures of results; this loads matplotlib, but draws nothing yet."""
        return importlib.import_module("backlight.report.plot_drawing").draw(results)

    def figures(self, results: Results) -> Figures:
        """Offer the figures of results by name; nothing is loaded or drawn yet."""
        return Figures(partial(self.draw, results))

    def summary(self, results: Results) -> Sequence[str]:
        """Say what was asked, and what was found first."""
        return [*_asked(results), *results.metadata["remarks"][:_MOST_REMARKS]]

    def picture(self, results: Results) -> bytes | None:
        """Draw the first figure, as a PNG."""
        return _picture(self.draw(results), "*")

    def page(self, results: Results, **chosen: Any) -> Page:
        """Put the page of results together, which begins with all remarks; nothing is chosen."""
        views = importlib.import_module("backlight.report.page.plots").views(results, **chosen)
        return page_of(results, self.command, _asked(results), views)


def command_of(results: Results, known: Collection[str], what: str) -> str:
    """Name the command of which results are, if it is one that can be gone on with.

    Args:
        results: They.
        known: The commands that can be.
        what: What would be done with them, such as ``compared``.

    Returns:
        The command.

    Raises:
        RunDirectoryError: If it is another one, or nobody knows.
    """
    shown, command = results.presentation, results.provenance.get("command")
    if command is None and isinstance(shown, SurveyPresentation):
        command = shown.survey.name
    if command not in known:
        other = "" if command is None else f", not of `backlight {command}`"
        names = ", ".join(f"`backlight {name}`" for name in known)
        raise RunDirectoryError(
            f"{quoted(results.path or 'These results')}: what can be {what} are runs of "
            f"{names}{other}."
        )
    return str(command)


def _asked(results: Results) -> list[str]:
    """Say what an experiment is about; an earlier version did not write it down."""
    return [str(asked)] if (asked := results.metadata.get("asked")) else []


def _picture(drawings: Iterable[Drawing], pattern: str) -> bytes | None:
    from backlight.report.rendering import png

    found = (drawing for drawing in drawings if fnmatch(drawing.name, pattern))
    drawing = next(found, None)
    return None if drawing is None else png(drawing.make())
