"""Where something is takes one line, unless it is a command; that is whole."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from backlight.runs.directory import RunDirectory
from backlight.runs.results import Results
from backlight.runs.urls import Url
from backlight.surveys.driver.words.places import in_command, short, where_it_went
from zoo.terminals import terminal

pytestmark = pytest.mark.usefixtures("far_from_results")

LONG = Path("a folder of runs with many words") / "in its name, and another one" / "layers"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def test_a_place_is_told_from_here_or_from_home_if_that_is_shorter(home, tmp_path):
    assert short(tmp_path / "work" / "runs" / "layers") == "runs/layers"
    assert short(tmp_path / "runs") == "../runs"
    assert short(home / "runs") == "~/runs"
    assert short(Path("runs")) == "runs"
    assert short(Path("/runs")) == "/runs"


@pytest.mark.usefixtures("home")
def test_a_url_is_told_as_it_is():
    assert short(Url("s3:/bucket/runs")) == "s3://bucket/runs"
    assert in_command(Url("s3:/bucket/runs")) == "s3://bucket/runs"


@pytest.mark.usefixtures("home")
def test_a_folder_that_is_gone_tells_nothing_of_where_others_are(tmp_path):
    (tmp_path / "work").rmdir()

    assert short(Path("/runs")) == "/runs"
    assert short(Path("runs")) == "runs"


@pytest.mark.parametrize("room", range(2, 90))
def test_a_place_without_room_loses_its_beginning(home, room):
    told = short(Path("/") / LONG / "浪漫.html", room)

    assert len(told) <= room
    assert told == f"/{LONG}/浪漫.html" or told.startswith("…")
    assert told.removeprefix("…") in f"/{LONG}/浪漫.html"


def test_a_shell_reads_a_place_in_a_command_as_this_place(home, tmp_path):
    for place in (home / "my runs" / "a$b", tmp_path / "it's", Path("x y"), Path("~/x")):
        line = ["sh", "-c", f"printf %s {in_command(place)}"]
        read = subprocess.run(line, capture_output=True, text=True, check=True).stdout

        assert os.path.abspath(read) == os.path.abspath(place)  # noqa: PTH100


def finished(path, *files):
    run = RunDirectory.create(path, {}, {"command": "layers"})
    for name in files:
        run.write_bytes(name, b"")
    run.finish({})
    return Results(path=path)


def test_the_page_the_main_picture_and_the_command_are_named(tmp_path):
    path = tmp_path / "a run"
    results = finished(path, "index.html", "a.png", "top_mean.png", "top_mean_abs.png", "b.svg")

    assert where_it_went(results, "layers", "top_*.png") == [
        f"Page      {path}/index.html",
        f"Figures   4 in {path}, such as top_mean_abs.png",
        f"Tables    {path}/tables/*.csv",
        f"Again     backlight layers '{path}/config.yaml'",
    ]


@pytest.mark.parametrize("columns", [60, 80])
def test_only_a_command_takes_more_than_a_line(tmp_path, monkeypatch, columns):
    terminal(monkeypatch, columns)
    results = finished(tmp_path / LONG, "index.html", "a.png", "top_of_all.png")

    *lines, command = where_it_went(results, "layers", "top_*.png")

    assert [line[:10].strip() for line in lines] == ["Page", "Figures", "Tables"]
    assert max(map(len, lines)) <= columns
    assert lines[0].endswith("/layers/index.html")
    assert lines[1].endswith("/layers, such as top_of_all.png")
    assert shlex.split(command)[-1] == str(tmp_path / LONG / "config.yaml")


def test_what_there_is_not_is_not_named(tmp_path):
    assert where_it_went(Results(), "layers", "*") == []
    assert where_it_went(finished(tmp_path / "run"), "layers", "*") == [
        f"Tables    {tmp_path}/run/tables/*.csv",
        f"Again     backlight layers {tmp_path}/run/config.yaml",
    ]
