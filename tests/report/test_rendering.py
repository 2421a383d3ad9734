import subprocess
import sys

import pytest
from matplotlib.figure import Figure

from backlight.report.rendering import rendered


def figure():
    made = Figure(figsize=(2, 1))
    made.subplots().set_title("$x$ \u4e2d\n")
    return made


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_equal_figures_give_equal_bytes(name):
    assert rendered(name, figure()) == rendered(name, figure())


def test_text_of_a_drawing_is_text_that_can_be_seen_and_no_formula():
    text = rendered("a.svg", figure()).decode()

    assert text.startswith("<?xml")
    assert "$x$ \\u4e2d" in text


def test_nothing_loads_matplotlib_before_a_figure_is_drawn():
    code = (
        "import sys\n"
        "import backlight.cli, backlight.report.page, backlight.report.plots\n"
        "from backlight.surveys import SURVEYS\n"
        "for each in SURVEYS.values():\n"
        "    for door in ('measure', 'tables', 'printed'): each.door(door)\n"
        "import backlight.tools.doctor.command, backlight.tools.report.command\n"
        "import backlight.surveys.driver.conduct, backlight.surveys.driver.experiments\n"
        "sys.exit('matplotlib' in sys.modules)\n"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
