"""The run directory of a command: found again, or made anew."""

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from backlight.errors import ConfigError, RunDirectoryError, quoted
from backlight.runs.directory import RunDirectory
from backlight.runs.files import unwritable
from backlight.runs.finding import find_latest
from backlight.runs.places import refuse_place
from backlight.runs.provenance import provenance
from backlight.surveys.driver.options.reading import same_numbers
from backlight.surveys.driver.options.samples import AUTO
from backlight.surveys.driver.options.shared import RunOptions
from backlight.surveys.driver.options.workers import WorkerOptions
from backlight.surveys.driver.words.places import short

ROOT = Path("runs")
"""Where automatically named run directories are made."""

_NOT_IN_A_NAME = re.compile(r"[^\w.,+=-]", re.ASCII)
_LONGEST_NAME, _STAMP = 150, len("_20250101_000000")
_NUM_CHANGES = 3

_logger = logging.getLogger(__name__)


def find_run(options: RunOptions, command: str) -> RunDirectory | None:
    """Find the run that ``--resume`` means, and refuse directories that may not be written.

    Args:
        options: The command's options.
        command: Its name.

    Returns:
        An earlier run to go on with; None if a new one is to be started, or nothing is written.

    Raises:
        ConfigError: If ``--resume`` and ``--overwrite`` are both asked for, or ``--overwrite``
            without a directory.
        RunDirectoryError: If the directory holds a run and neither was asked for, if it holds a
            run with other options, or if there is nothing to go on with.
    """
    if options.resume and options.overwrite:
        raise ConfigError("--resume and --overwrite exclude each other: go on, or start anew.")
    if options.overwrite and options.output_dir is None:
        raise ConfigError("--overwrite says to replace a run, but not which: name --output_dir.")
    numbers = same_numbers(options)
    if options.output_dir is None:
        if options.save_outputs:
            refuse_place(ROOT)
        return _told(find_latest(ROOT, command, numbers)) if options.resume else None
    run = RunDirectory(options.output_dir)
    if options.resume and run.exists():
        _refuse_another(run, command, numbers)
        return _told(run)
    RunDirectory.refuse_occupied(run.path, replacing=options.overwrite)
    return None


def with_size_of(found: RunDirectory | None, options: Any) -> Any:
    """Give options that leave the batch size to the device the one of the run that goes on.

    Args:
        found: The run; None for a new one.
        options: The options of a survey.

    Returns:
        The options; as they are if there is no run, or a number was asked for.

    Raises:
        RunDirectoryError: If the run does not say its batch size.
    """
    if found is None or getattr(options, "batch_size", None) != AUTO:
        return options
    size = found.config().get("batch_size")
    if type(size) is not int or size < 1:
        raise RunDirectoryError(
            f"The run in {quoted(found.path)} says no batch size to go on with (batch_size: "
            f"{quoted(size)}); start anew with --overwrite."
        )
    return options.model_copy(update={"batch_size": size})


def begin(
    options: RunOptions,
    command: str,
    name: str,
    found: RunDirectory | None,
    material: Mapping[str, Any],
    **more: Any,
) -> RunDirectory | None:
    """Make the run's directory, or make sure that an earlier run can be gone on with.

    Args:
        options: The command's options.
        command: Its name.
        name: How an automatically named directory begins; the time is added.
        found: The earlier run, None for a new one.
        material: Where the numbers come from; it must be the same when a run is resumed.
        **more: What else is written down about the run.

    Returns:
        The directory, None if nothing is to be written.

    Raises:
        RunDirectoryError: If the text, the model or any other material has changed since.
    """
    threads = threads_each(options) if "torch" in sys.modules else None
    if found is not None:
        _refuse_other_material(found, material, threads)
        found.take_up()
        return found
    path = options.output_dir
    if path is None:
        if not options.save_outputs:
            return None
        path = _new_directory(f"{name}_{datetime.now().strftime('%Y%m%d_%H%M%S')}")
    origin = {"command": command, **provenance(), **material, "threads": threads, **more}
    settled = {**same_numbers(options), "save_outputs": True}
    return RunDirectory.create(path, settled, origin, overwrite=options.overwrite)


def threads_each(options: Any) -> int:
    """Count the threads of each process that measures: workers share those of this one.

    On a cluster each has one, or as many as ``OMP_NUM_THREADS`` says here.

    Args:
        options: The command's options.

    Returns:
        At least one.
    """
    torch: Any = sys.modules["torch"]
    if isinstance(options, WorkerOptions) and options.cluster is not None:
        return torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else 1
    num_workers = options.workers if isinstance(options, WorkerOptions) else 1
    return max(1, torch.get_num_threads() // num_workers)


def warn_of_threads(began: Any, now: int | None) -> None:
    """Warn if a run goes on with another number of threads than it began with."""
    if began != now:
        _logger.warning(
            "The run began with %s threads and goes on with %s: last bits of sums may differ.",
            began,
            now,
        )


def _refuse_another(run: RunDirectory, command: str, numbers: Mapping[str, Any]) -> None:
    """Refuse to go on with a run of another command, or with other options."""
    if not run.is_of(command):
        there = quoted(run.provenance().get("command"))
        raise RunDirectoryError(
            f"{quoted(run.path)} holds a run of another command ({there}, not {command!r}); "
            "name another --output_dir."
        )
    differences = run.differences(numbers)
    if differences:
        raise RunDirectoryError(
            f"{quoted(run.path)} holds a run with other options ({'; '.join(differences)}); "
            "resume with the same, or name another --output_dir."
        )


def _told(run: RunDirectory) -> RunDirectory:
    if run.is_finished:
        _logger.info("The run in %s is finished already: nothing was measured.", short(run.path))
    return run


def _new_directory(name: str) -> Path:
    """Make a directory for a run under a name that no other run has, also not at this moment."""
    plain = _NOT_IN_A_NAME.sub("_", name)
    stem = plain if len(plain) <= _LONGEST_NAME else f"{plain[:_LONGEST_NAME]}{plain[-_STAMP:]}"
    for number in count(1):
        path = ROOT / (stem if number == 1 else f"{stem}_{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise unwritable(path, error, begun=False) from error
        return path
    raise AssertionError("numbers have no end")


def _refuse_other_material(
    run: RunDirectory, material: Mapping[str, Any], threads: int | None
) -> None:
    before = run.provenance()
    for what, now in material.items():
        if before.get(what) != now:
            raise RunDirectoryError(
                f"The {what} changed since the run in {quoted(run.path)} began "
                f"({_changes(before.get(what), now)}); start anew with --overwrite."
            )
    warn_of_threads(before.get("threads"), threads)


def _changes(before: Any, now: Any) -> str:
    """List the first few values that differ between two records."""
    old, new = dict(_flat(before)), dict(_flat(now))
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    told = [f"{name} {quoted(old.get(name))} then, {quoted(new.get(name))} now" for name in names]
    return "; ".join(told[:_NUM_CHANGES]) + ("; ..." if len(told) > _NUM_CHANGES else "")


def _flat(record: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(record, Mapping):
        for name, value in record.items():
            yield from _flat(value, f"{path}.{name}" if path else str(name))
    else:
        yield path, record
