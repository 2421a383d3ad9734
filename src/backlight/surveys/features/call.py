"""The Python call ``backlight.sae``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backlight.models.loading import subject_of
from backlight.runs.results import Results
from backlight.surveys.driver.conduct import asked, conduct
from backlight.surveys.features import FEATURES


def sae(
    config: str | Path | None = None,
    *,
    subject: object = None,
    dictionaries: Mapping[int, object] | None = None,
    **options: Any,
) -> Results:
    """Measure the gradient of the loss with respect to the features of sparse dictionaries.

    The same as the command ``backlight sae``, for notebooks and scripts; nothing is printed.

    Args:
        config: A YAML file of options, if any.
        subject: A model that is already loaded (a subject, or what ``subject_from_object`` takes
            by itself); its options then have no place here.
        dictionaries: Dictionaries that are already loaded, by layer, instead of ``sae_path``: our
            own, or objects of SAELens, dictionary_learning or other code, as
            ``dictionary_from_object`` takes them.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        The aggregated arrays, by ``layer_{i}_{mode}``; every feature's mean, standard error, rms,
        frequency and decoder norm as ``statistics``; the tables and the metadata. Its ``path`` is
        the run directory, None if nothing was written.

    Raises:
        ConfigError: If an option does not exist or does not fit, or is one for loading a model
            although there is a subject, or if there are two sources of dictionaries.

    Examples:
        >>> import backlight
        >>> backlight.sae(sae_path="smollm2", layers=15)  # doctest: +SKIP
    """
    model = subject_of(subject)
    settled = asked(FEATURES, config, options, model)
    return conduct(FEATURES, settled, subject=model, dictionaries=dictionaries)
