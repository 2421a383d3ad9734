"""What a survey prints when it is done."""

from itertools import chain
from typing import Any

from backlight.runs.results import Results
from backlight.surveys.driver.declaration import Survey
from backlight.surveys.driver.results.presenting import SurveyPresentation
from backlight.surveys.driver.words.checks import check_lines
from backlight.surveys.driver.words.places import where_it_went
from backlight.surveys.driver.words.screen import print_results


def print_survey(survey: Survey, options: Any, results: Results) -> None:
    """Print what was found and where it went, as much of it as the options ask for.

    Args:
        survey: What was asked.
        options: Its options.
        results: What was found.
    """
    printed, checks = survey.door("printed"), check_lines(results.metadata)
    print_results(
        options,
        results,
        summary=SurveyPresentation(survey).summary(results),
        brief=chain(printed.brief(options, results), checks),
        tables=chain(printed.tables(options, results), checks),
        places=where_it_went(results, survey.name, survey.picture),
    )
