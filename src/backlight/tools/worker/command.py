"""``backlight worker``: which part of which run is measured."""

import os

from backlight.errors import ConfigError, RunDirectoryError
from backlight.foreign.files import expanded
from backlight.runs.directory import RunDirectory
from backlight.surveys.driver.parts import measure_part
from backlight.surveys.driver.words.places import short
from backlight.surveys.driver.words.terminal import console
from backlight.surveys.loading import survey_of
from backlight.tools.worker.options import WorkerConfig


def run(options: WorkerConfig) -> None:
    """Measure a part of a planned run, and print how many shards it was.

    Args:
        options: The options of the command.
    """
    path = expanded(options.run_dir, error=RunDirectoryError)
    part, num_parts = part_of(options.part)
    directory = RunDirectory(path)
    shards = measure_part(survey_of(directory), path, part, num_parts)
    told = f"{len(shards)} shards measured of part {part}/{num_parts} in {short(directory.path)}"
    console().print(told, soft_wrap=True)


def part_of(told: str | None) -> tuple[int, int]:
    """Read which part is meant, from the environment of a launcher if it is not told.

    Args:
        told: Such as ``0/4``; None if it is not told.

    Returns:
        The part, from 0, and how many parts there are.

    Raises:
        ConfigError: If it is not said, or there is no such part.
    """
    if told is None:
        told = f"{os.environ.get('RANK', '')}/{os.environ.get('WORLD_SIZE', '')}"
    part, _, num_parts = told.partition("/")
    if not (part.isdecimal() and num_parts.isdecimal()):
        raise ConfigError(
            "Which part is to be measured? Give --part I/N, such as 0/4, or start this with "
            "torchrun, which sets RANK and WORLD_SIZE."
        )
    if int(part) >= int(num_parts):
        raise ConfigError(f"part: parts are counted from 0, so of {num_parts} none is {part}.")
    return int(part), int(num_parts)
