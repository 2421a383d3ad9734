"""The run whose stability is asked for, read from its directory."""

from typing import Any

from backlight.errors import ConfigError, RunDirectoryError, quoted
from backlight.runs.results import Results, load_results
from backlight.surveys.comparison.measure.sides import grouped_statistics
from backlight.surveys.comparison.reading import opened
from backlight.surveys.stability.options import StabilityConfig


def read(options: StabilityConfig, *, results: Results | None = None) -> dict[str, Any]:
    """Read the run.

    Args:
        options: What is asked.
        results: The run, if it was read already.

    Returns:
        What the door ``measure`` takes besides the options: the ``run`` and its ``material``.

    Raises:
        ConfigError: If no run was named.
        RunDirectoryError: If it is of another survey, or keeps no groups of passages.
    """
    if results is None:
        if options.run is None:
            raise ConfigError(
                "Say which run is to be split: backlight stability RUN, the directory of a "
                "finished run of layers, or of sae with --keep_groups."
            )
        results = load_results(options.run)
    found = opened(results, "run" if results.path is None else results.path.name)
    if found.run.command not in ("layers", "sae"):
        raise RunDirectoryError(
            f"{quoted(results.path or 'These results')}: a run of `backlight {found.run.command}`, "
            "of which no halves are compared; take one of layers, or of sae with --keep_groups."
        )
    if not grouped_statistics(found.run):
        raise RunDirectoryError(
            f"{quoted(results.path or 'These results')}: this run keeps no sums over groups of "
            "passages, without which it cannot be split. Saved runs of layers keep them, and of "
            "sae with --keep_groups."
        )
    return {"run": found.run, "material": {"split": found.identity()}}
