"""The run that ``--resume`` means when no directory is named."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backlight.errors import RunDirectoryError, quoted
from backlight.runs.directory import RunDirectory

_MOST_LISTED = 5


def find_latest(root: Path, command: str, options: Mapping[str, Any]) -> RunDirectory:
    """Find the newest run of a command with the same options, an unfinished one first.

    Args:
        root: The directory of run directories.
        command: The command.
        options: The options that can change a number.

    Returns:
        The run.

    Raises:
        RunDirectoryError: If there is none; the message lists the newest unfinished runs there
            are, with what differs.
    """
    there = [RunDirectory(config.parent) for config in root.glob("*/config.yaml")]
    runs = [run for run in there if run.exists() and run.is_of(command)]
    runs.sort(key=lambda run: (str(run.provenance().get("started")), run.path.name))
    unfinished = [run for run in runs if not run.is_finished]
    finished = [run for run in runs if run.is_finished]
    for run in (*reversed(unfinished), *reversed(finished)):
        if not run.differences(options):
            return run
    listed = [
        f"{run.path} ({'; '.join(run.differences(options))})" for run in unfinished[-_MOST_LISTED:]
    ]
    raise RunDirectoryError(
        f"There is no unfinished run with these options in {quoted(root)}. "
        + (f"Unfinished are: {', '.join(listed)}. " if listed else "")
        + "Name one with --output_dir, or start anew without --resume."
    )
