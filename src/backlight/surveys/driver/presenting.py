"""How the results of a survey, or of an experiment, are shown: given to them as they are made."""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import final

from backlight.report.drawing import Drawing, Figures
from backlight.runs.results import Results
from backlight.surveys.driver.declaration import Survey


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


@final
@dataclass(frozen=True, slots=True)
class LabPresentation:
    """How the results of any experiment are shown: as their metadata say."""

    def draw(self, results: Results) -> Iterable[Drawing]:
        """List the figures of results; this loads matplotlib, but draws nothing yet."""
        return importlib.import_module("backlight.report.plot_drawing").draw(results)

    def figures(self, results: Results) -> Figures:
        """Offer the figures of results by name; nothing is loaded or drawn yet."""
        return Figures(partial(self.draw, results))
