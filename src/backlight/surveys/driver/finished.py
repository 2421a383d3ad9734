"""The way of a survey that asks about finished runs alone: no model, no text, no torch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backlight.runs.results import Results, load_results
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.declaration import Survey
from backlight.surveys.driver.results.findings import Findings, results_of
from backlight.surveys.driver.results.presenting import SurveyPresentation
from backlight.surveys.driver.results.telling import print_survey
from backlight.surveys.driver.results.writing import write
from backlight.surveys.driver.starting import begin, find_run
from backlight.surveys.driver.words.screen import refuse_contradiction


def run(survey: Survey, options: Any) -> None:
    """Carry out a survey of finished runs, and print what was found and where it went.

    Args:
        survey: Which.
        options: Its options.
    """
    refuse_contradiction(options)
    print_survey(survey, options, study(survey, options))


def study(survey: Survey, options: Any, *, read: Mapping[str, Any] | None = None) -> Results:
    """Carry out a survey of finished runs.

    Args:
        survey: Which. Its door ``reading`` reads the runs (``read(options, **read)``), the door
            ``measure`` computes (``measure(options, **what was read)``), and ``tables`` tabulates.
        options: Its options, checked.
        read: What the door ``reading`` takes in Python.

    Returns:
        What was found; of a finished run that was to be resumed, what its files hold.
    """
    clock, shown = Clock(), SurveyPresentation(survey)
    found = find_run(options, survey.name)
    if found is not None and found.is_finished:
        return replace(load_results(found.path), presentation=shown)
    given = survey.door("reading").read(options, **(read or {}))
    clock.lap("reading")
    measured = survey.door("measure").measure(options, **given)
    directory = begin(options, survey.name, measured.run_name, found, measured.material)
    findings: Findings = survey.door("tables").findings(options, measured)
    clock.lap("computation")
    results = results_of(options, findings, directory, shown, measured.material)
    if directory is not None:
        write(directory, findings, results, clock, options.figures)
    return results
