"""The Python call ``backlight.validate``."""

from pathlib import Path
from typing import Any

from backlight.models.loading import subject_of
from backlight.runs.results import Results
from backlight.surveys.driver.conduct import asked, conduct
from backlight.surveys.validation import VALIDATION


def validate(
    run: str | Path | Results | None = None,
    *,
    subject: object = None,
    dataset: Any = None,
    config: str | Path | None = None,
    **options: Any,
) -> Results:
    """Test how well the gradients of a run predict what happens without a unit.

    The same as the command ``backlight validate``; nothing is printed.

    Args:
        run: The run: its directory, or the results of a call just now.
        subject: A model that is already loaded (a subject, or what ``subject_from_object`` takes
            by itself); None for the one that the run names.
        dataset: The text, if the run measured data in memory.
        config: A YAML file of options, if any.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        The tables ``agreement``, ``by_size``, ``sites``, ``warning``, ``calibration`` and
        ``units``. ``data`` holds what was predicted and what was true, ``[units, ablations,
        passages]``. Its ``path`` is the run directory, None if nothing was written.

    Raises:
        ConfigError: If an option does not exist or does not fit, or the run's text is not at hand.
        RunDirectoryError: If it is no run of a survey, or its model or text have changed.

    Examples:
        >>> import backlight
        >>> questions = ["distance(c_12,c_2045)=", "distance(c_9,c_77)=", "distance(c_5,c_300)="]
        >>> measured = backlight.layers(model_name="city", dataset=questions, layers=[0, 3])
        >>> found = backlight.validate(measured, dataset=questions, units=12)
        >>> found.tables["units"].num_rows, [str(name) for name in found.tables["units"]][:3]
        (12, ['kind', 'layer', 'site'])
    """
    if run is not None and not isinstance(run, Results):
        options["run"] = Path(run)
    settled = asked(VALIDATION, config, options, None)
    results = run if isinstance(run, Results) else None
    model = subject_of(subject)
    return conduct(
        VALIDATION, settled, read={"results": results, "subject": model, "dataset": dataset}
    )
