"""Run directories of the watch that were damaged, forged, or are somebody else's."""

import json
import os
import shutil

import pytest
import torch

import backlight
from backlight.errors import CityError, RunDirectoryError
from backlight.training import read_history, watch
from backlight.training.log.reading import HEADER, LOG
from backlight.training.non_finite.snapshot import save_snapshot
from backlight.world import CITIES
from backlight.world.cities import read_cities, write_cities
from zoo.hostile import attack, within_seconds
from zoo.watched import Stack, train


@pytest.fixture(scope="session")
def watched(tmp_path_factory):
    path = tmp_path_factory.mktemp("watched") / "run"
    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, path, schedule=1):
        train(model, optimizer, 4)
    return path


@pytest.fixture
def place(watched, tmp_path):
    shutil.copytree(watched, tmp_path / "run")
    return tmp_path / "run"


def in_header(change):
    def harm(place):
        header = json.loads((place / HEADER).read_text())
        change(header["parameters"][0])
        (place / HEADER).write_text(json.dumps(header))

    return harm


def in_step(**changes):
    def harm(place):
        lines = (place / LOG).read_text().splitlines(keepends=True)
        at = next(number for number, line in enumerate(lines) if '"kind":"step"' in line)
        lines[at] = json.dumps({**json.loads(lines[at]), **changes}) + "\n"
        (place / LOG).write_text("".join(lines))

    return harm


def instead(name, make):
    def harm(place):
        (place / name).unlink(missing_ok=True)
        make(place / name)

    return harm


def in_statistics(change):
    def harm(place):
        lines = (place / LOG).read_text().splitlines(keepends=True)
        at = next(number for number, line in enumerate(lines) if '"kind":"step"' in line)
        record = json.loads(lines[at])
        record["parameters"]["norm"][0] = change
        lines[at] = json.dumps(record) + "\n"
        (place / LOG).write_text("".join(lines))

    return harm


RANK = "rank_0000.jsonl"
HARMS = {
    "a log that is a folder": (instead(LOG, os.mkdir), "is a folder, not a file"),
    "a log that is a pipe": (instead(LOG, os.mkfifo), "is a pipe, not a file"),
    "a log that is a device": (
        instead(LOG, lambda path: path.symlink_to("/dev/zero")),
        "is a device, not a file",
    ),
    "a log that leads nowhere": (
        instead(LOG, lambda path: path.symlink_to("nowhere")),
        "There is no file",
    ),
    "a log of noise": (
        instead(LOG, lambda path: path.write_bytes(bytes(range(256)) * 9)),
        "is not a JSON object",
    ),
    "ranks in a pipe": (instead(RANK, os.mkfifo), "is a pipe, not a file"),
    "ranks in a device": (
        instead(RANK, lambda path: path.symlink_to("/dev/zero")),
        "is a device, not a file",
    ),
    "ranks in a folder": (instead(RANK, os.mkdir), "is a folder, not a file"),
    "ranks without numbers": (
        instead(RANK, lambda path: path.write_text('{"step":1}\n')),
        "is damaged",
    ),
    "a header twice": (
        instead(HEADER, lambda path: path.write_text('{"format":1,"format":1}')),
        "is damaged",
    ),
    "a header of depth": (
        instead(HEADER, lambda path: path.write_text("[" * 100_000)),
        "is damaged",
    ),
    "a format of 10,000 letters": (
        instead(HEADER, lambda path: path.write_text(json.dumps({"format": "x" * 10_000}))),
        "has format 'xxx",
    ),
    "an infinite depth": (
        in_header(lambda entry: entry.update(depth=float("inf"))),
        "does not say which parameters",
    ),
    "an infinite beginning": (
        in_header(lambda entry: entry.update(since=float("inf"))),
        "does not say which parameters",
    ),
    "a step below zero": (in_step(step=-3), "-3 is no step"),
    "a step and a half": (in_step(step=1.5), "1.5 is no step"),
    "a step of 400 digits": (in_step(step=10**400), "digits is no step"),
    "a norm in words": (in_step(norm="big"), "'big' is no number"),
    "a negative norm": (in_step(norm=-1.0), "norm is negative"),
    "rates in words": (in_step(learning_rates="abc"), "'a' is no number"),
    "a parameter's norm in words": (in_statistics("big"), "'big' is no number"),
    "a parameter's norm below zero": (in_statistics(-2.0), "norm is negative"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_run_of_the_watch_is_one_sentence(place, harm):
    act, told = HARMS[harm]
    act(place)
    outcome = attack(["doctor", str(place)], place=place / "nothing")
    assert outcome.status == 2
    assert told in outcome.err


@pytest.mark.parametrize("content", [None, "", "torn"])
def test_a_log_without_a_line_is_nothing_to_judge(place, content):
    (place / LOG).unlink()
    if content is not None:
        (place / LOG).write_text(content)
    outcome = attack(["doctor", str(place)], place=place)
    assert outcome.status == 1
    assert "nothing to judge" in outcome.out


TAKEN = {
    "somebody's text": lambda path: (path / LOG).write_text("mine\nno end"),
    "a link": lambda path: (path / LOG).symlink_to(path.parent / "victim"),
    "a link to nothing": lambda path: (path / LOG).symlink_to(path.parent / "new"),
    "a pipe": lambda path: os.mkfifo(path / LOG),
    "a folder": lambda path: (path / LOG).mkdir(),
    "a header that is a link": lambda path: (path / HEADER).symlink_to(path.parent / "victim"),
    "a header that is a pipe": lambda path: os.mkfifo(path / HEADER),
}


@pytest.mark.parametrize("steps_done", [0, 5])
@pytest.mark.parametrize("taken", TAKEN)
def test_the_watch_takes_no_file_that_it_did_not_make(tmp_path, taken, steps_done):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "run").mkdir()
    TAKEN[taken](tmp_path / "run")
    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with (
        within_seconds(20),
        pytest.raises(RunDirectoryError, match=r"not a plain file|is somebody else's"),
    ):
        watch(model, optimizer, tmp_path / "run", steps_done=steps_done)
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "new").exists()
    if taken == "somebody's text":
        assert (tmp_path / "run" / LOG).read_text() == "mine\nno end"


def test_a_snapshot_leaves_what_is_there(tmp_path):
    run = tmp_path / "run"
    (tmp_path / "victim").write_text("precious")
    run.mkdir()
    (run / "snapshot_step_000002.safetensors").write_text("mine")
    (run / "snapshot_step_000002_2.json").symlink_to(tmp_path / "victim")
    own = f".snapshot_step_000002.safetensors.{os.getpid()}.part"
    (run / own).symlink_to(tmp_path / "victim")
    name = save_snapshot(run, Stack(), None, {"taken_at_step": 2})
    assert name == "snapshot_step_000002_3.json"
    assert json.loads((run / name).read_text())["tensors"] == "snapshot_step_000002_3.safetensors"
    assert (run / "snapshot_step_000002_3.safetensors").stat().st_size > 1000
    assert (run / "snapshot_step_000002.safetensors").read_text() == "mine"
    assert (tmp_path / "victim").read_text() == "precious"


def test_cities_are_written_through_no_link(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / f".cities.csv.{os.getpid()}.part").symlink_to(tmp_path / "victim")
    cities = read_cities(CITIES)
    write_cities(cities, tmp_path / "cities.csv")
    assert (tmp_path / "victim").read_text() == "precious"
    assert len(read_cities(tmp_path / "cities.csv")) == len(cities)


def test_a_path_may_begin_at_home(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place.parent))
    assert len(read_history("~/run").steps) == 4
    with pytest.raises(RunDirectoryError, match="no run directory or file"):
        backlight.load_results("~/none")
    assert backlight.doctor("~/run", html="~/page.html").is_healthy
    assert (place.parent / "page.html").is_file()


@pytest.mark.parametrize("read", [backlight.load_results, read_history, backlight.doctor])
def test_the_home_of_nobody_is_said(read):
    with pytest.raises(RunDirectoryError, match="home directory of a user who has none here"):
        read("~nobody_of_that_name/run")
    with pytest.raises(CityError, match="home directory of a user who has none here"):
        read_cities("~nobody_of_that_name/cities.csv")
    with pytest.raises(
        backlight.errors.ConfigError, match="there is no home directory of that name"
    ):
        backlight.layers(output_dir="~nobody_of_that_name/run")


def test_names_of_modules_steer_no_sentence(tmp_path):
    model = Stack()
    evil = "\x1b[31m\u202e[red]<b>" + "x" * 300
    model.add_module(evil, torch.nn.Linear(2, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, tmp_path / "run", schedule=1):
        for step in range(1, 30):
            model.zero_grad()
            loss = sum(parameter.pow(2).sum() for parameter in model.parameters())
            (loss * 1e-30 if step > 3 else loss).backward()
            getattr(model, evil).weight.grad.zero_()
            optimizer.step()
    told = str(backlight.doctor(tmp_path / "run"))
    assert "[red]<b>xx" in told
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "x" * 200 not in told
