"""Places for results that cannot be one: told before a model is loaded or anything is computed."""

import os
import shutil
from pathlib import Path

import pytest

from backlight import cli
from backlight.runs import lock as locking
from backlight.runs.lock import lock
from backlight.surveys.driver import starting
from backlight.surveys.driver.material import opening
from backlight.tools.train_sae import command as sae_command
from zoo.folders import contents
from zoo.hostile import attack

TARGETS = {
    "a file": "file.txt",
    "below a file": "file.txt/below/deeper",
    "a link to nothing": "dangling",
    "below a link to nothing": "dangling/below",
    "a link to itself": "loop",
    "a link to a file": "filelink",
    "a pipe": "pipe",
    "a device": "/dev/null",
    "below a device": "/dev/null/below",
    "where nobody can write": "/proc/backlight",
    "deep where nobody can write": "/proc/backlight/below",
    "a name that is too long": 300 * "x",
    "a path that is too long": 100 * f"{100 * 'x'}/",
    "a part that is too long": f"{300 * 'x'}/out",
    "letters of four bytes": 100 * "\U0001f526",
    "zero": "out\0side",
    "escapes": "\x1b[2J",
    "a line end": "out\nside",
    "the other direction": "\u202etuo",
    "half a character": "\udcff",
    "files of somebody": "theirs",
    "the place itself": ".",
    "the place above": "..",
    "above by a detour": "theirs/../..",
    "the root": "/",
    "a mount point": "/proc",
    "another mount point": "/dev/shm",
}
ONLY_DICTIONARIES = {
    "a link to a folder": "folderlink",
    "a link to an empty folder": "emptylink",
    "home": "home",
    "above home": "home/..",
    "below and up again": "empty/..",
    "an empty folder's end": "empty/../empty/.",
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with all that can be in the way, below one with files of somebody."""
    here = tmp_path / "outer" / "here"
    for folder in ("theirs", "empty", "home"):
        (here / folder).mkdir(parents=True)
    (here / "theirs" / "thesis.tex").write_text("years")
    (here / "file.txt").write_text("mine")
    (here / "dangling").symlink_to("nowhere")
    (here / "loop").symlink_to("loop")
    (here / "filelink").symlink_to("file.txt")
    (here / "folderlink").symlink_to("theirs")
    (here / "emptylink").symlink_to("empty")
    os.mkfifo(here / "pipe")
    monkeypatch.setenv("HOME", str(here / "home"))
    monkeypatch.chdir(here)
    return tmp_path


@pytest.fixture
def no_model(monkeypatch):
    for module in (opening, sae_command):
        monkeypatch.setattr(module, "load", lambda _: pytest.fail("no model is needed"))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("asked", [[], ["--overwrite"], ["--resume"]], ids=str)
def test_a_survey_refuses_its_place_before_it_loads_a_model(place, survey, no_model, target, asked):
    if os.path.ismount(TARGETS[target]) and not any(Path(TARGETS[target]).iterdir()):
        pytest.skip("an empty mount point is as good a place as any")
    outcome = attack([*survey(output_dir=TARGETS[target]), *asked], place=place)

    assert outcome.status == 2


@pytest.mark.parametrize("target", {**TARGETS, **ONLY_DICTIONARIES})
@pytest.mark.parametrize("asked", [[], ["--overwrite"]], ids=str)
def test_a_training_of_a_dictionary_refuses_its_place_first(
    place, options, no_model, target, asked
):
    where = {**TARGETS, **ONLY_DICTIONARIES}[target]
    words = [f"--{name}={value}" for name, value in options.items()]
    if target == "an empty folder's end":
        pytest.skip("it is a plain folder by another name")

    outcome = attack(
        ["train-sae", "--layer=1", *words, f"--output_dir={where}", *asked], place=place
    )

    assert outcome.status == 2


FOREIGN = {
    "a story of another tool": {"training.json": '{"files": ["training.json", "thesis.tex"]}'},
    "a story that is a list": {"training.json": "[1]"},
    "a story of ours about a thesis": {
        "training.json": '{"command": "backlight train-sae", "files": ["thesis.tex"], '
        '"sha256": {"thesis.tex": "00"}}'
    },
    "a story of other kinds": {
        "training.json": '{"command": "backlight train-sae", "files": 7, "sha256": [1]}'
    },
    "a story that climbs": {
        "training.json": '{"command": "backlight train-sae", "files": ["../file.txt"], '
        '"sha256": {"../file.txt": "00"}}'
    },
    "no story": {},
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_only_looks_like_a_dictionary_is_not_replaced(place, options, no_model, foreign):
    for name, content in FOREIGN[foreign].items():
        (Path("theirs") / name).write_text(content)
    words = [f"--{name}={value}" for name, value in options.items()]

    outcome = attack(
        ["train-sae", "--layer=1", *words, "--output_dir=theirs", "--overwrite"], place=place
    )

    assert "not written by train-sae" in outcome.err


@pytest.mark.parametrize("command", ["layers", "train-sae", "report"])
def test_another_process_that_writes_there_is_noticed(
    command, finished_run, options, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished_run, "out")
    names = {"layers": "out", "report": "out"}
    words = [f"--{name}={value}" for name, value in options.items()]
    lines = {
        "layers": ["layers", *words, "--output_dir=out", "--overwrite"],
        "report": ["report", "out"],
        "train-sae": ["train-sae", "--layer=1", *words, "--output_dir=sae"],
    }
    held = Path(names.get(command, sae_command.__name__ and _scratch()))
    held.mkdir(exist_ok=True)
    mine = lock(held)
    monkeypatch.setattr(locking, "_held", {})  # as another process would see it

    outcome = attack(lines[command], place=tmp_path)

    assert "Another process is writing" in outcome.err
    assert mine is not None


def _scratch():
    from backlight.tools.train_sae.place import scratch_of

    return scratch_of(Path("sae"))


def test_three_runs_of_one_second_have_three_directories(survey, tmp_path, monkeypatch, no_figures):
    monkeypatch.chdir(tmp_path)

    class Frozen:
        @staticmethod
        def now():
            from datetime import datetime

            return datetime(2025, 1, 1)

    monkeypatch.setattr(starting, "datetime", Frozen)
    for _ in range(3):
        assert cli.main(survey(save_outputs=True, layers="0")) == 0

    made = sorted(path.name for path in Path("runs").iterdir())
    assert [name.rpartition("20250101_000000")[2] for name in made] == ["", "_2", "_3"]
    assert all("manifest.json" in contents(path) for path in Path("runs").iterdir())


def test_runs_may_not_be_where_a_file_is_called_runs(survey, place, no_figures):
    Path("runs").write_text("mine")

    outcome = attack(survey(save_outputs=True, layers="0"), place=place)

    assert "'runs' is a file" in outcome.err
