"""The Python call ``backlight.layers``."""

from pathlib import Path
from typing import Any

from backlight.models.loading import subject_of
from backlight.runs.results import Results
from backlight.surveys.driver.conduct import asked, conduct
from backlight.surveys.layers import LAYERS


def layers(config: str | Path | None = None, *, subject: object = None, **options: Any) -> Results:
    """Measure the gradient of the loss at every layer, over a corpus.

    The same as the command ``backlight layers``, for notebooks and scripts; nothing is printed.

    Args:
        config: A YAML file of options, if any.
        subject: A model that is already loaded (a subject, or what ``subject_from_object`` takes
            by itself); its options then have no place here.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        The aggregated arrays, by ``layer_{i}_{mode}``, with the tables and the metadata. Its
        ``path`` is the run directory, None if nothing was written.

    Raises:
        ConfigError: If an option does not exist or does not fit, or is one for loading a model
            although there is a subject.

    Examples:
        >>> import backlight
        >>> found = backlight.layers(
        ...     model_name="city", dataset=["distance(c_12,c_2045)=", "angle(c_1,c_2,c_3)="]
        ... )
        >>> [str(name) for name in found.tables]
        ['layers', 'dimensions', 'histograms', 'top_tokens']
        >>> found.data["layer_0_mean_abs"].shape
        (128,)
    """
    model = subject_of(subject)
    return conduct(LAYERS, asked(LAYERS, config, options, model), subject=model)
