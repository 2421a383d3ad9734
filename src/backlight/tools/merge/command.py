"""``backlight merge``: of which run the parts are put together."""

from backlight.errors import RunDirectoryError
from backlight.foreign.files import expanded
from backlight.runs.directory import RunDirectory
from backlight.surveys.driver.parts import merge
from backlight.surveys.loading import survey_of
from backlight.tools.merge.options import MergeConfig


def run(options: MergeConfig) -> None:
    """Finish a planned run, and print what was found.

    Args:
        options: The options of the command.

    Raises:
        RunDirectoryError: If it is no run of a survey, or shards are missing.
    """
    path = expanded(options.run_dir, error=RunDirectoryError)
    merge(survey_of(RunDirectory(path)), path, options)
