"""The Python call ``backlight.compare``."""

from pathlib import Path
from typing import Any

from backlight.runs.results import Results, load_results
from backlight.surveys.comparison import COMPARISON
from backlight.surveys.driver.finished import study
from backlight.surveys.driver.options.reading import resolve
from backlight.surveys.driver.words.screen import refuse_table


def compare(
    *runs: str | Path | Results,
    config: str | Path | None = None,
    **options: Any,
) -> Results:
    """Compare two finished runs, or a series, and tell which differences are more than chance.

    The same as the command ``backlight compare``; nothing is printed, and no model is loaded.

    Args:
        *runs: Two runs or more: their directories, or the results of calls just now, whether these
            were written or not.
        config: A YAML file of options, if any.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        The tables ``layers`` and ``differences`` (the surest of each layer), of a series also
        ``moves``. ``data`` holds every unit: ``{kind}_{statistic}_layer_{i}_{column}``, of a series
        with ``run_{k}_`` before it. Its ``path`` is the run directory, None if nothing was written.

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
    places = [each.path if isinstance(each, Results) else Path(each) for each in runs]
    if runs and None not in places:
        options["runs"] = tuple(places)
    settled = resolve(COMPARISON.options, config, options)
    refuse_table(settled)
    found = [each if isinstance(each, Results) else load_results(each) for each in runs]
    return study(COMPARISON, settled, read={"results": found})
