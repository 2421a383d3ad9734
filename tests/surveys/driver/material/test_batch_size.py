"""``--batch_size auto``: which size is chosen, and that a run keeps it."""

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

import backlight
from backlight.capture.record import record
from backlight.data.batches import Passages
from backlight.errors import ConfigError, RunDirectoryError
from backlight.models.subject import Subject
from backlight.runs.directory import RunDirectory
from backlight.surveys.driver.material import batch_size, remembered_sizes
from backlight.surveys.driver.material.batch_size import choose_size
from backlight.surveys.driver.options.reading import resolve
from backlight.surveys.driver.options.shared import ShownOptions
from backlight.surveys.driver.parts import measure_part, merge, plan
from backlight.surveys.layers import LAYERS
from backlight.surveys.layers.measure import setup
from backlight.surveys.loading import survey_of
from zoo.dictionaries import random_dictionary
from zoo.stopping import stopping

pytestmark = pytest.mark.usefixtures("place", "no_pixels")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where choices are remembered: empty."""
    path = tmp_path / "sizes"
    monkeypatch.setattr(remembered_sizes, "sizes_folder", lambda: path)
    return path


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a pass is said to take, by its number of passages; what was asked is listed."""

    told = SimpleNamespace(asked=[], seconds={1: 1.0, 2: 1.2, 4: 1.5, 8: 2.9})

    def seconds(subject, passages, members, sites):
        told.asked.append(len(members))
        found = told.seconds[len(members)]
        if found is None:
            raise torch.OutOfMemoryError("full")
        return found

    monkeypatch.setattr(batch_size, "_seconds", seconds)
    return told


def auto(options, **others):
    return {**options, "batch_size": "auto", "figures": "none", **others}


def config_of(path):
    return yaml.safe_load(Path(path, "config.yaml").read_text())


def same_files(first, second):
    """Compare all arrays and tables of two runs, byte for byte."""
    names = sorted(
        path.relative_to(first)
        for path in Path(first).rglob("*")
        if path.suffix in (".npy", ".csv", ".parquet")
    )
    assert names
    return all(Path(first, name).read_bytes() == Path(second, name).read_bytes() for name in names)


@pytest.mark.parametrize(
    ("speeds", "expected", "num_tried"),
    [
        ([(1, 100.0)], 1, 1),
        ([(1, 100.0), (2, 104.9), (4, 900.0)], 1, 2),
        ([(1, 100.0), (2, 105.0), (4, 110.0), (8, 900.0)], 2, 3),
        ([(1, 100.0), (2, 200.0), (4, 400.0)], 4, 3),
        ([(1, 100.0), (2, 50.0), (4, 900.0)], 1, 2),
    ],
)
def test_a_size_is_grown_while_that_gives_five_percent(speeds, expected, num_tried):
    asked = iter(speeds)

    assert choose_size(asked) == (expected, dict(speeds[:num_tried]))
    assert len(list(asked)) == len(speeds) - num_tried


def test_the_clock_decides_the_size_and_the_run_keeps_it(options, folder, clock):
    backlight.layers(**auto(options, output_dir="auto"))
    backlight.layers(**{**options, "batch_size": 4}, output_dir="four")

    config = config_of("auto")
    assert config["batch_size"] == 4
    origin = config["provenance"]["batch_size"]
    assert origin["asked"] == "auto"
    assert not origin["remembered"]
    assert list(origin["tokens_per_second"]) == ["1", "2", "4", "8"]
    assert "batch_size" not in config_of("four")["provenance"]
    assert same_files(Path("auto"), Path("four"))


def test_sizes_end_at_the_number_of_passages(options, folder, clock):
    clock.seconds = dict.fromkeys((1, 2, 4, 8), 1.0)
    backlight.layers(**auto(options, output_dir="run"))

    assert max(clock.asked) == 8  # of fourteen
    assert config_of("run")["batch_size"] == 8


def test_where_memory_ends_the_size_before_is_taken(options, folder, clock):
    clock.seconds = {1: 1.0, 2: 1.0, 4: None}
    backlight.layers(**auto(options, output_dir="run"))

    assert config_of("run")["batch_size"] == 2


def test_memory_that_does_not_hold_one_passage_is_an_error(options, folder, clock):
    clock.seconds = {1: None}

    with pytest.raises(torch.OutOfMemoryError, match="full"):
        backlight.layers(**auto(options))
    assert not folder.exists()


def test_another_error_ends_nothing_silently(options, folder, monkeypatch):
    def broken(subject, passages, members, sites):
        if len(members) > 1:
            raise RuntimeError("the device is broken")
        return 1.0

    monkeypatch.setattr(batch_size, "_seconds", broken)
    with pytest.raises(RuntimeError, match="the device is broken"):
        backlight.layers(**auto(options))


# Of flow some numbers are roots of what cancels but for rounding.
@pytest.mark.parametrize(("name", "rounding"), [("layers", 1e-12), ("flow", 1e-8)])
def test_numbers_are_those_of_one_passage_at_a_time(name, rounding, options, folder, clock):
    shared = {**options, "dtype": "float64"}
    found = getattr(backlight, name)(**auto(shared))
    alone = getattr(backlight, name)(**{**shared, "batch_size": 1})

    assert found.config["batch_size"] == 4
    for table in alone.tables:
        for column in alone.tables[table].columns:
            expected = np.asarray(alone.tables[table][column])
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(
                    np.asarray(found.tables[table][column]), expected, rtol=1e-6, atol=rounding
                )


def test_real_passes_are_timed_and_counted_in_tokens(options, folder):
    found = backlight.layers(**auto(options, output_dir="run"))

    origin = config_of("run")["provenance"]["batch_size"]["tokens_per_second"]
    assert str(found.config["batch_size"]) in origin
    assert all(10 < speed < 1e7 for speed in origin.values())


def test_features_take_it_too(options, folder, clock):
    dictionaries = {1: random_dictionary(32, dtype=torch.float32, seed=0)}
    found = backlight.sae(
        **auto(options),
        dictionaries=dictionaries,
        site="mlp.out",
        splice="error",
        layers="1",
        allow_poor_reconstruction=True,
    )

    assert found.config["batch_size"] == 4


def test_it_is_timed_at_the_sites_of_the_run(options, folder, monkeypatch):
    seen = []

    def recorded(subject, batch, sites, **how):
        seen.append([site.name for site in sites])
        return record(subject, batch, sites, **how)

    monkeypatch.setattr(batch_size, "record", recorded)
    backlight.layers(**auto(options, site="resid.post", layers="0,2"))

    assert seen
    assert all(names == ["layers.0.resid.post", "layers.2.resid.post"] for names in seen)


def test_a_choice_is_remembered_for_the_same_model_and_sites(options, folder, clock):
    backlight.layers(**auto(options))
    clock.asked.clear()
    clock.seconds = {}
    backlight.layers(**auto(options, output_dir="again"))

    assert clock.asked == []
    assert config_of("again")["batch_size"] == 4
    assert config_of("again")["provenance"]["batch_size"]["remembered"]
    with pytest.raises(KeyError):
        backlight.layers(**auto(options, site="resid.post"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:20],
        lambda content: b"\xff\xfe",
        lambda content: content.replace(b'"batch_size":4', b'"batch_size":-4'),
        lambda content: content.replace(b'"batch_size":4', b'"batch_size":3'),
        lambda content: content.replace(b'"key":"', b'"key":"0'),
    ],
)
def test_a_damaged_memory_is_told_and_measured_anew(damage, options, folder, clock, caplog):
    backlight.layers(**auto(options))
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    clock.asked.clear()
    with caplog.at_level(logging.WARNING):
        backlight.layers(**auto(options))

    assert "remembered in" in caplog.text
    assert clock.asked
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_told(options, folder, clock, caplog):
    folder.write_text("a file")
    with caplog.at_level(logging.WARNING):
        backlight.layers(**auto(options, output_dir="run"))

    assert "could not be kept" in caplog.text
    assert config_of("run")["batch_size"] == 4


@pytest.mark.parametrize("where", [{"output_dir": "run"}, {}])
def test_a_resumed_run_has_the_same_bytes_and_probes_nothing(where, options, folder, clock):
    backlight.layers(**auto(options, output_dir="whole"))
    stopped = {"output_dir": "run"} if where else {"save_outputs": True}
    with stopping(setup, "profile", 2), pytest.raises(KeyboardInterrupt):
        backlight.layers(**auto(options, **stopped))
    for file in folder.iterdir():
        file.unlink()
    clock.asked.clear()
    clock.seconds = {}
    backlight.layers(**auto(options, resume=True, **where))

    (run,) = [Path("run")] if where else Path("runs").iterdir()
    assert clock.asked == []
    assert same_files(Path("whole"), run)


def test_a_run_of_a_number_goes_on_with_it(options, folder, clock):
    backlight.layers(**options, output_dir="run")
    found = backlight.layers(**auto(options, output_dir="run", resume=True))

    assert found.config["batch_size"] == 3
    assert clock.asked == []


@pytest.mark.parametrize("size", ["", " many", " true", " 0"])
def test_a_run_that_says_no_size_is_refused(size, options, folder, clock):
    backlight.layers(**options, figures="none", output_dir="run")
    file = Path("run", "config.yaml")
    file.write_text(file.read_text().replace("batch_size: 3", f"batch_size:{size}"))

    with pytest.raises(RunDirectoryError, match="says no batch size to go on with"):
        backlight.layers(**auto(options, output_dir="run", resume=True))


@pytest.mark.parametrize(("device", "warmed"), [("cpu", [[0]]), ("cuda", [[0], [2, 0]])])
def test_on_a_device_each_size_must_first_hold_the_longest_passages(
    device, warmed, model_folder, monkeypatch
):
    passages = Passages(tokens=[np.zeros(length, int) for length in (9, 3, 8, 4, 5)])
    asked = []

    def seconds(subject, passages, members, sites):
        asked.append(members)
        return 1.0

    monkeypatch.setattr(batch_size, "_seconds", seconds)
    subject = backlight.load_subject(str(model_folder), device="cpu")
    monkeypatch.setattr(Subject, "device", property(lambda _: torch.device(device)))
    speeds = dict(batch_size._speeds(subject, passages, [], [1, 2]))

    timed = [[4], [3, 4]]
    longest = [members for members in asked if 0 in members]
    assert speeds == {1: 5.0, 2: 9.0}
    assert all(members in asked for members in timed)
    assert longest == warmed


def test_workers_by_hand_have_the_same_bytes_and_probe_nothing(options, folder, clock):
    backlight.layers(**auto(options, output_dir="whole"))
    for file in folder.iterdir():
        file.unlink()
    plan(LAYERS, resolve(LAYERS.options, None, auto(options, output_dir="run")))
    assert config_of("run")["batch_size"] == 4
    assert config_of("run")["provenance"]["batch_size"]["asked"] == "auto"
    clock.asked.clear()
    clock.seconds = {}
    measure_part(survey_of(RunDirectory(Path("run"))), Path("run"), 0, 1)
    merge(LAYERS, Path("run"), ShownOptions(figures="none"))

    assert clock.asked == []
    assert same_files(Path("whole"), Path("run"))


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"batch_size": "0"}, r"batch_size: Input should be greater than 0 \(got '0'\)"),
        ({"batch_size": "autoo"}, r"batch_size: Input should be a valid integer.* \(got 'autoo'\)"),
        (
            {"batch_size": "auto", "loss_reduction": "batch_mean"},
            "loss_reduction: its numbers depend on the batch size; give a number, not auto",
        ),
        (
            {"batch_size": "auto", "memory": "4GB"},
            "memory: what fits depends on the batch size; give a number, not auto",
        ),
    ],
)
@pytest.mark.parametrize("name", ["layers", "sae", "flow"])
def test_what_cannot_be_chosen_is_refused(name, others, message, options):
    with pytest.raises(ConfigError, match=message):
        getattr(backlight, name)(**{**options, **others})


def test_a_given_model_is_timed_too(options, folder, clock):
    subject = backlight.load_subject(options["model_name"])
    given = {"dataset": options["dataset"], "max_length": 20, "batch_size": "auto"}
    backlight.layers(**given, subject=subject, output_dir="run")

    assert config_of("run")["batch_size"] == 4
