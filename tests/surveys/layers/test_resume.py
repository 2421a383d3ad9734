"""Runs of `backlight layers` that are stopped, go on, and replace each other."""

import errno
import io
import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import backlight
from backlight import cli
from backlight.errors import RunDirectoryError, StorageError
from backlight.runs import files
from backlight.runs.directory import RunDirectory
from backlight.surveys.driver.material import opening
from backlight.surveys.driver.words import progress
from backlight.surveys.layers.measure import setup
from zoo.folders import contents, numbers
from zoo.stopping import stopping

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture
def checkpoint_often(monkeypatch):
    """Keep a checkpoint after every batch."""
    monkeypatch.setattr(progress, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "CHECKPOINT_PATIENCE", 0)


@contextmanager
def disk_full_at(num_writes):
    """Let the disk be full when a file is brought to it for the given time."""
    real, done = files.os.fsync, []

    def fsync(descriptor):
        done.append(descriptor)
        if len(done) >= num_writes:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.os, "fsync", fsync)
        yield


@pytest.fixture
def whole(survey, place, no_figures):
    """What an uninterrupted survey finds."""
    assert cli.main(survey(output_dir="whole", aggregation_mode="both")) == 0
    found = numbers(place / "whole")
    # Arrays alone and together, tables, and groups of passages.
    assert len(found) == 3 * 2 * 2 + 4 + 3 * 3
    return found


def test_a_survey_along_paths_goes_on_to_the_same_bytes(
    survey, place, no_figures, checkpoint_often
):
    asked = {"path": 2, "layers": "0,2"}
    assert cli.main(survey(output_dir="whole", **asked)) == 0
    with stopping(setup, "profile", 2):
        assert cli.main(survey(output_dir="out", **asked)) == 130

    assert cli.main(survey(output_dir="out", resume=True, **asked)) == 0

    found = numbers(place / "out")
    assert found == numbers(place / "whole")
    assert "tables/completeness.csv" in found


def test_a_run_with_other_paths_is_not_gone_on_with(survey, checkpoint_often, capsys):
    with stopping(setup, "profile", 2):
        assert cli.main(survey(output_dir="out", path=2, layers="0,2")) == 130

    assert cli.main(survey(output_dir="out", resume=True, path=4, layers="0,2")) == 2

    assert "with other options (path: 2 -> 4)" in capsys.readouterr().err


@pytest.mark.parametrize("num_batches", [0, 1, 2, 4, 5])
def test_a_survey_that_was_stopped_goes_on_to_the_same_bytes(
    survey, place, monkeypatch, whole, checkpoint_often, num_batches
):
    with stopping(setup, "profile", num_batches):
        assert cli.main(survey(output_dir="out", aggregation_mode="both")) == 130
    kept = {"checkpoint.npz"} if num_batches else set()
    assert set(contents(place / "out")) == {".written", "config.yaml", *kept}
    real, left = setup.profile, []

    def counting(subject, passages, batches, state, **options):
        left.append(len(batches) - state.loss.num_batches)
        return real(subject, passages, batches, state, **options)

    monkeypatch.setattr(setup, "profile", counting)
    assert cli.main(survey(output_dir="out", aggregation_mode="both", resume=True)) == 0

    assert left == [5 - num_batches]
    assert numbers(place / "out") == whole
    assert "checkpoint.npz" not in contents(place / "out")


def test_a_survey_stopped_twice_goes_on_twice(survey, place, whole, checkpoint_often):
    for words in (survey(output_dir="out", aggregation_mode="both"),) + 2 * (
        survey(output_dir="out", aggregation_mode="both", resume=True),
    ):
        with stopping(setup, "profile", 1):
            assert cli.main(words) == 130

    assert cli.main(survey(output_dir="out", aggregation_mode="both", resume=True)) == 0
    assert numbers(place / "out") == whole


def test_a_survey_stopped_while_results_are_written_goes_on(survey, place, monkeypatch, whole):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "finish", stop)
        assert cli.main(survey(output_dir="out", aggregation_mode="both")) == 130

    assert cli.main(survey(output_dir="out", aggregation_mode="both", resume=True)) == 0
    assert numbers(place / "out") == whole


@pytest.mark.parametrize(
    "num_writes",
    [1, 2, 3, 5, 9, 11, 17, 21],
    ids=[
        "journal",
        "config",
        "1st checkpoint",
        "3rd checkpoint",
        "array",
        "3rd array",
        "table",
        "manifest",
    ],
)
def test_a_full_disk_loses_nothing(survey, place, whole, checkpoint_often, capsys, num_writes):
    capsys.readouterr()
    with disk_full_at(num_writes):
        assert cli.main(survey(output_dir="out", aggregation_mode="both")) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.fullmatch(
        r"backlight: 'out/.*' cannot be written: No space left on device\. "
        + (
            r"Nothing was begun; make room, or name another --output_dir\."
            if num_writes < 3
            else r"What was saved before is intact; make room, and go on with --resume\."
        ),
        told,
    )
    held = contents(place / "out")
    assert not [name for name in held if name.endswith(".part")]
    assert ("checkpoint.npz" in held) == (num_writes > 3)
    assert "manifest.json" not in held
    if num_writes > 3:
        with np.load(io.BytesIO(held["checkpoint.npz"]), allow_pickle=False) as state:
            assert state["loss/counts"][0] == min(num_writes - 3, 5)

    assert cli.main(survey(output_dir="out", aggregation_mode="both", resume=True)) == 0
    assert numbers(place / "out") == whole


def test_a_full_disk_is_an_error_of_its_own(options, place, no_figures):
    with (
        disk_full_at(1),
        pytest.raises(StorageError, match=r"out/\.written' cannot be written: No space left"),
    ):
        backlight.layers(**options, output_dir="out")


def test_the_newest_unfinished_run_with_the_same_options_goes_on(
    survey, place, whole, checkpoint_often
):
    with stopping(setup, "profile", 2):
        assert cli.main(survey(save_outputs=True, aggregation_mode="both")) == 130
    (run,) = (place / "runs").iterdir()

    assert cli.main(survey(resume=True, aggregation_mode="both")) == 0

    assert list((place / "runs").iterdir()) == [run]
    assert numbers(run) == whole


def test_where_results_go_is_no_difference_to_resume_by(options, place, no_figures):
    with stopping(setup, "profile", 1), pytest.raises(KeyboardInterrupt):
        backlight.layers(**options, save_outputs=True)
    (run,) = (place / "runs").iterdir()

    assert backlight.layers(**options, resume=True, output_dir=run).path == run


def test_to_resume_where_nothing_is_starts_a_run(survey, place, no_figures):
    assert cli.main(survey(output_dir="out", resume=True)) == 0

    assert backlight.load_results(place / "out").metadata["num_tokens"] == 247


def test_to_resume_a_finished_run_shows_it_and_changes_nothing(
    survey, place, monkeypatch, no_figures, capsys
):
    assert cli.main(survey(output_dir="out")) == 0
    first, before = capsys.readouterr().out, contents(place / "out")
    monkeypatch.setattr(opening, "load", lambda _: pytest.fail("no model is needed"))

    assert cli.main(survey(output_dir="out", resume=True)) == 0

    assert capsys.readouterr().out == first
    assert contents(place / "out") == before


def test_text_that_has_changed_is_not_mixed_with_what_was_measured(
    options, place, checkpoint_often, capsys
):
    rows = [f"{'light falls through every layer of the model ' * 2}{word}" for word in "abcdefg"]
    (place / "rows.txt").write_text("\n".join(rows), encoding="utf-8")
    asked = {**options, "dataset": "rows.txt", "output_dir": "out"}
    with stopping(setup, "profile", 1), pytest.raises(KeyboardInterrupt):
        backlight.layers(**asked)
    before = contents(place / "out")
    (place / "rows.txt").write_text("\n".join([*rows, rows[0]]), encoding="utf-8")

    with pytest.raises(RunDirectoryError, match=r"The corpus changed since the run in 'out' began"):
        backlight.layers(**asked, resume=True)

    assert contents(place / "out") == before


def test_a_model_that_has_changed_is_not_mixed_with_what_was_measured(
    options, place, model_folder, checkpoint_often
):
    shutil.copytree(model_folder, place / "model")
    asked = {**options, "model_name": "./model", "output_dir": "out"}
    with stopping(setup, "profile", 1), pytest.raises(KeyboardInterrupt):
        backlight.layers(**asked)
    model = AutoModelForCausalLM.from_pretrained("./model")
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1.0
    model.save_pretrained("./model")

    with pytest.raises(RunDirectoryError, match=r"The model changed since the run"):
        backlight.layers(**asked, resume=True)


def test_overwriting_leaves_nothing_of_the_run_before(survey, place, no_figures):
    assert cli.main(survey(output_dir="out", aggregation_mode="both")) == 0
    assert cli.main(survey(output_dir="out", layers="1", overwrite=True)) == 0

    assert [path.name for path in (place / "out").glob("*.npy")] == [
        "layer_1_mean_abs_gradients.npy"
    ]


def test_a_mistake_does_not_cost_the_run_that_was_to_be_overwritten(survey, place, no_figures):
    assert cli.main(survey(output_dir="out")) == 0
    before = contents(place / "out")

    assert cli.main(survey(output_dir="out", overwrite=True, layers="7")) == 2

    assert contents(place / "out") == before
