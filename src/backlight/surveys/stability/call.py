"""The Python call ``backlight.stability``."""

from pathlib import Path
from typing import Any

from backlight.runs.results import Results
from backlight.surveys.driver.finished import study
from backlight.surveys.driver.options.reading import resolve
from backlight.surveys.driver.words.screen import refuse_table
from backlight.surveys.stability import STABILITY


def stability(
    run: str | Path | Results | None = None,
    *,
    config: str | Path | None = None,
    **options: Any,
) -> Results:
    """Tell how much of a run's ranking another half of its text would repeat.

    The same as the command ``backlight stability``; nothing is printed, no model is loaded.

    Args:
        run: The run: its directory, or its results as they were read or saved.
        config: A YAML file of options, if any.
        **options: Options by the names of the command's flags; they win over the file.

    Returns:
        The table ``layers``; ``data`` holds what each split found. Its ``path`` is the run
        directory, None if nothing was written.

    Raises:
        ConfigError: If an option does not exist or does not fit, or the run has too few passages.
        RunDirectoryError: If it is no finished run, or keeps no groups of passages.

    Examples:
        >>> import tempfile
        >>> import backlight
        >>> texts = [f"distance(c_{i},c_{100 + 7 * i})=" for i in range(8)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     options = {"model_name": "city", "layers": [0, 3], "figures": "none"}
        ...     _ = backlight.layers(dataset=texts, output_dir=f"{folder}/run", **options)
        ...     found = backlight.stability(f"{folder}/run")
        >>> found.tables["layers"]["num_groups"].tolist()
        [8, 8]
    """
    if run is not None and not isinstance(run, Results):
        options["run"] = Path(run)
    settled = resolve(STABILITY.options, config, options)
    refuse_table(settled)
    return study(STABILITY, settled, read={"results": run if isinstance(run, Results) else None})
