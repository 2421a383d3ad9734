"""A survey that is added is listed where it must be."""

from pathlib import Path

import pytest

import backlight
from backlight.surveys import SURVEYS

ROOT = Path(__file__).parents[2]
DOORS = ("options", "measure", "tables", "figures", "page", "printed", "call")


@pytest.mark.parametrize("name", list(SURVEYS))
def test_every_survey_has_its_doors_its_call_its_contract_and_its_line_in_the_tree(name):
    survey = SURVEYS[name]
    room = survey.room.removeprefix("backlight.surveys.")

    for door in DOORS:
        assert survey.door(door)
    assert callable(getattr(backlight, name))
    (containers,) = [
        line
        for line in (ROOT / "pyproject.toml").read_text().splitlines()
        if line.startswith("containers = [") and '"backlight.surveys.' in line
    ]
    assert f'"{survey.room}"' in containers
    assert f"    {room}/" in (ROOT / "CONTRIBUTING.md").read_text()
    assert f"`backlight {name}`" in (ROOT / "docs" / "commands.md").read_text()
