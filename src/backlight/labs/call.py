"""The Python call ``backlight.lab``."""

from pathlib import Path
from typing import Any

from backlight.errors import ConfigError, nearest, quoted
from backlight.labs import LABS
from backlight.runs.results import Results
from backlight.surveys.driver.experiments import ask_lab


def lab(name: str, config: str | Path | None = None, **options: Any) -> Results:
    """Carry out an experiment.

    The same as the command ``backlight lab``, for notebooks and scripts; nothing is printed, and
    nothing is written unless ``output_dir`` or ``save_outputs`` says so.

    Args:
        name: Which: see ``backlight lab --help``.
        config: A YAML file of options, if any.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        Its tables; ``data`` holds what each trial found, ``metadata["remarks"]`` what it means.

    Raises:
        ConfigError: If there is no such experiment or option, or an option does not fit.

    Examples:
        >>> import backlight
        >>> found = backlight.lab("rank-collapse", depths=[2, 4], width=8, positions=4, seeds=2)
        >>> len(found.metadata["remarks"]) > 0
        True
    """
    if name not in LABS:
        hint = nearest(name, list(LABS), otherwise=f"There are {', '.join(LABS)}.")
        raise ConfigError(f"There is no experiment {quoted(name)}. {hint}")
    return ask_lab(LABS[name], config, options)
