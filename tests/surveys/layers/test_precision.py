"""`backlight layers` that stops when its numbers are sure enough."""

import numpy as np
import pytest

import backlight
from backlight import cli
from backlight.errors import ConfigError
from backlight.surveys.layers.measure import setup
from zoo.folders import lines, numbers
from zoo.stopping import stopping_after

pytestmark = pytest.mark.usefixtures("place", "no_figures")

NUM_ROWS, TARGET = 400, 0.016


@pytest.fixture
def rows():
    """Many passages; none is longer than a passage may be."""
    return lines(NUM_ROWS, seed=1)


@pytest.fixture
def sure(options, place, rows):
    """A survey that stops at a relative standard error which some of the passages give."""
    (place / "rows.txt").write_text("\n".join(rows), encoding="utf-8")
    given = {"dataset": "rows.txt", "batch_size": 8, "quiet": True, "precision": TARGET}
    return {**options, **given}


def drawn(rows, num, seed=0):
    """The first passages of the order that the seed draws."""
    return [rows[place] for place in np.random.default_rng(seed).permutation(len(rows))[:num]]


def relative_errors(found, mode="mean_abs", table="layers"):
    return found.tables[table][f"{mode}_se"] / abs(found.tables[table][mode])


@pytest.mark.parametrize("seed", [3])
def test_it_measures_the_first_passages_of_the_drawn_order_that_are_enough(sure, rows, seed):
    found = backlight.layers(**sure, seed=seed)
    told = found.metadata["precision"]

    num = told["num_passages"]
    assert 64 < num < NUM_ROWS
    assert num % 32 == 0
    assert told["most_passages"] == NUM_ROWS
    alone = {**sure, "dataset": drawn(rows, num, seed), "precision": None}
    expected = backlight.layers(**alone)
    np.testing.assert_allclose(
        found.tables["layers"]["mean_abs"], expected.tables["layers"]["mean_abs"], rtol=1e-6
    )
    assert (found.tables["layers"]["num_sequences"] == num).all()
    assert found.metadata["num_tokens"] == expected.metadata["num_tokens"]
    assert told["is_reached"]
    assert np.median(relative_errors(found)) == pytest.approx(told["relative_error"])
    assert told["relative_error"] < TARGET
    fewer = backlight.layers(**{**alone, "dataset": drawn(rows, num - 32, seed)})
    assert np.median(relative_errors(fewer)) >= TARGET


@pytest.mark.slow
def test_workers_stop_at_the_same_place_with_the_same_bytes(sure, place):
    found = backlight.layers(**sure, output_dir="alone")

    together = backlight.layers(**sure, output_dir="together", workers=2)

    assert together.metadata["precision"] == found.metadata["precision"]
    assert numbers(place / "together") == numbers(place / "alone")
    assert not (place / "together" / "shards").exists()


@pytest.mark.parametrize("num_batches", [3, 4, 13])
@pytest.mark.parametrize("seconds", [0.0, 1000.0], ids=["checkpoints", "no checkpoints"])
def test_stopped_by_hand_it_goes_on_to_the_same_bytes(
    sure, place, monkeypatch, num_batches, seconds
):
    whole = backlight.layers(**sure, output_dir="whole")
    with (
        stopping_after(setup, "profile", num_batches, seconds=seconds),
        pytest.raises(KeyboardInterrupt),
    ):
        backlight.layers(**sure, output_dir="out")
    found = backlight.layers(**sure, output_dir="out", resume=True)

    assert found.metadata["precision"] == whole.metadata["precision"]
    assert numbers(place / "out") == numbers(place / "whole")


def test_of_the_largest_dimensions_their_own_errors_count(sure):
    found = backlight.layers(**{**sure, "precision": 0.05}, precision_of="top")

    told, table = found.metadata["precision"], found.tables["dimensions"]
    largest = np.argsort(-table["mean_abs"], kind="stable")[:20]
    errors = relative_errors(found, table="dimensions")[largest]
    assert told["of"] == "top"
    assert np.median(errors) == pytest.approx(told["relative_error"])


@pytest.mark.parametrize(("mode", "column"), [("rms", "rms"), ("mean", "mean")])
def test_the_error_is_that_of_the_statistic_which_is_asked(sure, mode, column):
    found = backlight.layers(**{**sure, "precision": 0.2}, aggregation_mode=mode)

    expected = np.median(relative_errors(found, column))
    assert found.metadata["precision"]["relative_error"] == pytest.approx(expected)


def test_at_least_sixty_four_passages_are_measured_however_sure_the_numbers_are(sure):
    found = backlight.layers(**{**sure, "precision": 0.99, "batch_size": 3})

    assert found.metadata["precision"]["num_passages"] == 66


def test_what_was_not_reached_is_said(sure, capsys):
    words = [
        f"--{name}={value}" for name, value in sure.items() if name not in ("quiet", "precision")
    ]

    assert cli.main(["layers", *words, "--precision=0.0001", "--num_samples=40"]) == 0

    said = " ".join(capsys.readouterr().out.split())
    assert "The precision of 0.01 % was not reached: the relative standard error (median" in said
    assert "a signed mean near zero may never get there (40 of at most 40 passages" in said


def test_what_was_reached_is_said(sure, capsys):
    words = [
        f"--{name}={value}" for name, value in sure.items() if name not in ("quiet", "precision")
    ]

    assert cli.main(["layers", *words, "--precision=0.5"]) == 0

    said = " ".join(capsys.readouterr().out.split())
    assert "below the 50 % asked for (64 of at most 400 passages, drawn by chance)" in said


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"precision": 0}, "precision: Input should be greater than 0"),
        ({"path": 2}, "cannot be asked together with --path"),
        ({"precision": None, "precision_of": "top"}, "no effect without --precision"),
        ({"precision_of": "top", "aggregation_mode": "rms"}, "have no standard errors"),
    ],
)
def test_what_cannot_be_asked_is_refused(sure, others, message):
    with pytest.raises(ConfigError, match=message):
        backlight.layers(**{**sure, **others})


def test_runs_that_stopped_at_different_places_are_not_compared_passage_by_passage(sure):
    backlight.layers(**sure, output_dir="stopped")
    backlight.layers(**sure, output_dir="again")
    backlight.layers(**{**sure, "precision": None}, output_dir="whole")

    same = backlight.compare("stopped", "again")
    other = backlight.compare("stopped", "whole")

    assert same.metadata["same_passages"]
    assert not other.metadata["same_passages"]
