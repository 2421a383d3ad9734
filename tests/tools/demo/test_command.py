"""The demo: every command is told with what it found, in few lines."""

import re
from pathlib import Path

import pytest

from backlight import cli, load_results
from backlight.surveys.driver.material import opening
from backlight.tools.demo import command

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture
def loaded(options, monkeypatch, no_figures, no_pixels):
    """Ask a tiny model instead, in two ways; returns what was loaded."""
    jobs = {"layers": {**options, "layers": "0,2"}, "flow": {**options, "view": "residual"}}
    monkeypatch.setattr(command, "JOBS", jobs)
    loaded, real = [], opening.load_subject
    monkeypatch.setattr(
        opening, "load_subject", lambda name, **given: loaded.append(name) or real(name, **given)
    )
    return loaded


def test_every_command_is_told_with_what_it_found_and_where_to_look(loaded, capsys):
    assert cli.main(["demo", "--output_dir", "here"]) == 0

    out = capsys.readouterr().out
    assert len(re.findall(r"^backlight (layers|flow) --model_name", out, re.MULTILINE)) == 2
    assert "was measured in 2 layers of" in out
    assert "From the last layer back to the embedding" in out
    assert re.search(r"^Figures +\d+ in here/flow", out, re.MULTILINE)
    assert out.splitlines()[-2] == "Tables    here/*/tables/*.csv"
    assert out.splitlines()[-1] == "All       here/index.html"
    index = Path("here/index.html").read_text(encoding="utf-8")
    assert "There are 2 runs: 2 finished." in index
    assert len(out.splitlines()) <= 30
    for name in ("layers", "flow"):
        assert load_results(Path("here", name)).config["device"] == "cpu"


def test_a_model_is_loaded_once(loaded, capsys):
    assert cli.main(["demo"]) == 0
    assert cli.main(["demo"]) == 0  # the second replaces the first

    assert len(loaded) == 2


def test_the_jobs_of_the_demo_are_possible():
    for name, job in command.JOBS.items():
        assert command.SURVEYS[name].options.model_validate(job)


def test_without_smollm2_the_shipped_model_takes_its_place(monkeypatch):
    monkeypatch.setattr(command.smollm2, "is_there", lambda: False)

    jobs = command.possible_jobs()

    assert {name: job.get("model_name") for name, job in jobs.items()} == {
        "layers": "city",
        "flow": "city",
        "tokens": None,
    }
    assert "sae" not in jobs


def test_with_smollm2_all_jobs_are_done():
    assert command.smollm2.is_there()
    assert command.possible_jobs() is command.JOBS


def test_the_demo_says_that_the_shipped_model_takes_the_place_of_smollm2(
    loaded, monkeypatch, capsys
):
    monkeypatch.setattr(command, "possible_jobs", lambda: dict(command.JOBS))

    assert cli.main(["demo", "--output_dir", "here"]) == 0

    assert "SmolLM2 is not installed" in capsys.readouterr().out
