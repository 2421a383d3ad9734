"""The Python call ``backlight.flow``."""

from pathlib import Path
from typing import Any

from backlight.models.loading import subject_of
from backlight.runs.results import Results
from backlight.surveys.driver.conduct import asked, conduct
from backlight.surveys.flow import FLOW


def flow(config: str | Path | None = None, *, subject: object = None, **options: Any) -> Results:
    """Measure what norms, attention and residual paths do to the gradient, over a corpus.

    The same as the command ``backlight flow``, for notebooks and scripts; nothing is printed.

    Args:
        config: A YAML file of options, if any.
        subject: A model that is already loaded (a subject, or what ``subject_from_object`` takes
            by itself); its options then have no place here.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        The tables of the views: ``norms``; ``attention`` and ``attention_distance``; ``residual``,
        ``depth``, ``depth_by_position`` and ``depth_slope``. Its ``path`` is the run directory,
        None if nothing was written.

    Raises:
        ConfigError: If an option does not exist or does not fit, or is one for loading a model
            although there is a subject.

    Examples:
        >>> import backlight
        >>> found = backlight.flow(
        ...     model_name="city", dataset=["distance(c_12,c_2045)="], view="residual"
        ... )
        >>> [str(half) for half in found.tables["residual"]["half"][:2]]
        ['attention', 'mlp']
    """
    model = subject_of(subject)
    return conduct(FLOW, asked(FLOW, config, options, model), subject=model)
