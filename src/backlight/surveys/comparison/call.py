"""The Python call ``backlight.compare``."""

from pathlib import Path
from typing import Any

from backlight.runs.results import Results, load_results
from backlight.surveys.comparison import COMPARISON
from backlight.surveys.driver.finished import study
from backlight.surveys.driver.reading import resolve
from backlight.surveys.driver.words.screen import refuse_table


def compare(
    a: str | Path | Results | None = None,
    b: str | Path | Results | None = None,
    *,
    config: str | Path | None = None,
    **options: Any,
) -> Results:
    """Compare two finished runs, and tell which differences are more than chance.

    The same as the command ``backlight compare``; nothing is printed, and no model is loaded.

    Args:
        a: The first run: its directory, or the results of a call just now.
        b: The second one.
        config: A YAML file of options, if any.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        The tables ``layers`` and ``differences`` (the surest of each layer). ``data`` holds every
        unit: ``{kind}_{statistic}_layer_{i}_{column}``. Its ``path`` is the run directory, None if
        nothing was written.

    Raises:
        ConfigError: If an option does not exist or does not fit, or the runs measured different
            things.
        RunDirectoryError: If one of them is no finished run of a survey.

    Examples:
        >>> import backlight
        >>> near = ["distance(c_12,c_2045)=", "distance(c_9,c_77)=", "distance(c_5,c_300)="]
        >>> far = ["distance(c_7,c_4000)=", "distance(c_3,c_811)=", "distance(c_1,c_950)="]
        >>> options = {"model_name": "city", "layers": [0, 3]}
        >>> a, b = (backlight.layers(dataset=text, **options) for text in (near, far))
        >>> found = backlight.compare(a, b)
        >>> found.tables["layers"]["num_compared"].tolist()
        [128, 128]
    """
    given = [each if isinstance(each, Results) else None for each in (a, b)]
    paths = [each for each in (a, b) if each is not None and not isinstance(each, Results)]
    if paths and not any(each is not None for each in given):
        options["runs"] = tuple(Path(each) for each in paths)
    settled = resolve(COMPARISON.options, config, options)
    refuse_table(settled)
    return study(COMPARISON, settled, read={"results": _whole(given, paths)})


def _whole(given: list[Results | None], paths: list[Any]) -> list[Results | None]:
    """Read the other run, if one of two is at hand."""
    if not paths or all(each is None for each in given):
        return given
    return [load_results(paths[0]) if each is None else each for each in given]
