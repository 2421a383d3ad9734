"""Temporary names."""

from backlight.surveys.driver.trials import LabFindings as Findings
from backlight.surveys.driver.trials import Trial as Trial
from backlight.surveys.driver.trials import TrialRunner as Notebook

__all__ = ["Findings", "Notebook", "Trial"]
