"""A fifth of the decoder types of Transformers, chosen by the date of the commit: all in slow."""

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from zoo.decoders import AIMS, TIERS, row, survey, written
from zoo.every_type import decoder_types

SLOW = {"kimi_linear"}  # its kernel is a loop in Python


def day():
    """Return the day on which the last commit was made; 0 where there is no history."""
    git = shutil.which("git")
    if git is None:
        return 0
    command = [git, "log", "-1", "--format=%ct"]
    found = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return int(found.stdout) // 86_400 if found.returncode == 0 and found.stdout.strip() else 0


@pytest.mark.parametrize("name", sorted(set(decoder_types()[day() % 5 :: 5]) - SLOW))
def test_what_is_proven_of_a_type_is_what_the_table_says(name):
    first, rows = written()
    if f"Transformers {version('transformers')}:" not in first:
        pytest.skip(f"the table was written for another version: {first}")
    assert row(survey(name)) == rows[name]


def test_the_table_has_every_type_and_reaches_the_aims():
    first, rows = written()
    if f"Transformers {version('transformers')}:" not in first:
        pytest.skip(f"the table was written for another version: {first}")
    assert sorted(rows) == sorted(decoder_types())
    cells = [[cell.strip() for cell in line.split("|")[2:]] for line in rows.values()]
    for tier, least in AIMS.items():
        proven = [each for each in cells if each[0] == each[TIERS.index(tier)] == "yes"]
        assert len(proven) >= least, tier
