"""What the docs show is what the program says."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_of_commands_is_what_help_prints():
    made = runpy.run_path(str(ROOT / "docs" / "make.py"))["commands"]()

    assert (ROOT / "docs" / "commands.md").read_text() == made, "run `make docs`"


def test_the_tree_in_the_readme_names_every_room():
    readme = (ROOT / "README.md").read_text()

    rooms = [
        path.name
        for path in (ROOT / "src" / "backlight").iterdir()
        if not path.name.startswith("_")
    ]
    assert [room for room in rooms if f"  {room}" not in readme] == []
