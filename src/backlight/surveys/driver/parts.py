"""A run that is measured in parts, by whoever is started: planned, measured, merged."""

from pathlib import Path
from typing import Any

import torch

from backlight.errors import ConfigError, RunDirectoryError, quoted
from backlight.runs.config import CONFIG
from backlight.runs.directory import RunDirectory
from backlight.runs.states import Arrays, ShardStates, state_names
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.conduct import run
from backlight.surveys.driver.declaration import Survey
from backlight.surveys.driver.engines.task import Task, material_of, measuring
from backlight.surveys.driver.material.opening import Opening
from backlight.surveys.driver.options.reading import resolve
from backlight.surveys.driver.options.shared import ShownOptions
from backlight.surveys.driver.starting import begin, find_run, warn_of_threads
from backlight.surveys.driver.words.places import in_command, short
from backlight.surveys.driver.words.sentences import count
from backlight.surveys.driver.words.terminal import console

_MOST_TOLD = 10


def plan(survey: Survey, options: Any) -> RunDirectory:
    """Make the directory of a run, and cut its corpus into shards; nothing is measured.

    Args:
        survey: Which.
        options: Its options.

    Returns:
        The directory.

    Raises:
        ConfigError: If no directory is named.
        RunDirectoryError: If it cannot be a run directory.
    """
    if options.output_dir is None:
        raise ConfigError("plan makes the directory of a run: name --output_dir.")
    if getattr(options, "dry_run", False):
        raise ConfigError(
            "plan makes a directory, and --dry_run writes nothing: run "
            f"`backlight {survey.name} --dry_run`."
        )
    find_run(options, survey.name)
    opening = Opening(options, None, Clock())
    measurement = survey.door("measure").prepare(options, opening)
    told = {"masks": measurement.masks, **opening.told}
    material, name = material_of(measurement), measurement.run_name
    directory = begin(opening.options, survey.name, name, None, material, **told)
    assert directory is not None, "there is an output_dir"
    directory.shelf(state_names(len(measurement.sharding.shards)))
    return directory


def plan_and_tell(survey: Survey, options: Any) -> None:
    """Make the directory of a run, and print how it goes on.

    Args:
        survey: Which.
        options: Its options.
    """
    directory = plan(survey, options)
    place, num = in_command(directory.path), num_shards_of(directory)
    figures = f" --figures {options.figures}" * (options.figures != "all")
    told = (
        f"{count(num, 'shard')} in {short(directory.path)}. Measure them with `backlight worker "
        f"{place} --part I/N` (I from 0 to N - 1), then finish with `backlight merge "
        f"{place}{figures}`."
    )
    console().print(told, soft_wrap=True)


def num_shards_of(directory: RunDirectory) -> int:
    """Read into how many shards a run is cut.

    Args:
        directory: The run.

    Returns:
        How many.

    Raises:
        RunDirectoryError: If it is no run that is cut into shards.
    """
    shards = directory.provenance().get("shards")
    num = shards.get("num_shards") if isinstance(shards, dict) else None
    if not isinstance(num, int) or num < 1:
        raise RunDirectoryError(
            f"The run in {quoted(directory.path)} is not cut into shards; `backlight plan` makes "
            "one that is."
        )
    return num


def measure_part(survey: Survey, path: Path, part: int, num_parts: int) -> list[int]:
    """Measure every ``num_parts``-th shard of a planned run that is not there yet.

    The run's journal is not touched and the directory not held, so that any number of workers may
    write into it at the same time, or each into a copy of its own.

    Args:
        survey: Of which survey the run is.
        path: The run directory.
        part: The first shard, from 0.
        num_parts: How many parts there are.

    Returns:
        The shards that were measured.

    Raises:
        RunDirectoryError: If the directory holds no such run, or model or text have changed.
        BacklightError: What the survey raises.
    """
    directory = RunDirectory(path)
    states = _states_of(directory)
    own = [shard for shard in states.missing() if shard % num_parts == part]
    if not own or directory.is_finished:
        return []
    origin, threads = directory.provenance(), torch.get_num_threads()
    warn_of_threads(origin.get("threads"), threads)
    task = Task(
        survey=survey,
        options=resolve(survey.options, path / CONFIG, {}),
        material=origin,
        threads=threads,
    )
    measure = measuring(task)
    for shard in own:
        states.deposit(shard, measure(shard))
    return own


def merge(survey: Survey, path: Path, shown: ShownOptions) -> None:
    """Finish a planned run of which every shard was measured, and print what was found.

    Args:
        survey: Of which survey the run is.
        path: The run directory.
        shown: How it is shown, which is not kept with a plan.

    Raises:
        RunDirectoryError: If shards are missing; the message says which.
    """
    directory = RunDirectory(path)
    if not directory.is_finished:
        _refuse_missing(directory)
    asked = {name: getattr(shown, name) for name in ShownOptions.model_fields}
    asked |= {"output_dir": path, "resume": True}
    run(survey, resolve(survey.options, path / CONFIG, asked))


def _refuse_missing(directory: RunDirectory) -> None:
    missing = _states_of(directory).missing()
    if missing:
        num = num_shards_of(directory)
        told = ", ".join(map(str, missing[:_MOST_TOLD])) + (", ..." * (len(missing) > _MOST_TOLD))
        raise RunDirectoryError(
            f"{len(missing)} of {num} shards of the run in {quoted(directory.path)} are not "
            f"measured yet ({told}): start `backlight worker` for the parts that they are in, or "
            "copy their files from where they were measured."
        )


def _states_of(directory: RunDirectory) -> ShardStates:
    """Open the states of a run's shards, for who merges none."""
    num = num_shards_of(directory)
    return ShardStates(num, directory.states(state_names(num)), _never, owner=directory.owner())


def _never(first: Arrays, second: Arrays) -> Arrays:
    del first, second
    raise AssertionError("who measures a part merges nothing")
