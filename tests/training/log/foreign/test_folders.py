"""Folders that trainers and loggers leave: which log in them is read."""

import json
import sys

import pytest

from backlight.errors import RunDirectoryError
from backlight.training.log.reading import read_history
from zoo.logs import CURVE, LOGS, json_lines, trainer_state

STEPS = [row[0] for row in CURVE]
STATE = "trainer_state.json"


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def state_until(step):
    rows = [{"step": s, "loss": x, "grad_norm": n} for s, x, n, _ in CURVE if s <= step]
    return trainer_state(rows)


def test_a_state_is_found_in_its_folder_and_in_the_last_checkpoint(tmp_path):
    for step in (20, 100, 90):
        written(tmp_path / f"checkpoint-{step}" / STATE, state_until(step))
    (tmp_path / "checkpoint-900").mkdir()  # was not written to its end

    checkpoint = read_history(tmp_path / "checkpoint-90")
    output = read_history(tmp_path)

    assert checkpoint.loss_steps.tolist() == STEPS[:9]
    assert output.loss_steps.tolist() == STEPS[:10]
    assert "Read from 'checkpoint-100', the last of 4." in output.understood
    written(tmp_path / STATE, trainer_state())
    assert read_history(tmp_path).loss_steps.tolist() == STEPS


def test_a_state_counts_before_another_log_of_the_folder(tmp_path):
    written(tmp_path / "trainer_log.jsonl", LOGS["LLaMA-Factory"].text)
    assert read_history(tmp_path).steps.size == 0
    written(tmp_path / STATE, trainer_state())
    assert read_history(tmp_path).steps.tolist() == STEPS


@pytest.mark.parametrize("inside", ["", "version_3", "lightning_logs/version_11"])
def test_lightnings_table_is_found(inside, tmp_path):
    written(tmp_path / inside / "metrics.csv", LOGS["Lightning"].text)
    if inside:
        written(tmp_path / inside / ".." / "version_2" / "metrics.csv", "step,loss\n1,1.0\n")

    history = read_history(tmp_path)

    assert history.steps.tolist() == STEPS
    assert "Lightning." in history.understood


def test_a_folder_without_a_log_says_what_was_looked_for(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"holds no log of a training run: it has no watch"):
        read_history(tmp_path)


def test_a_folder_of_weights_and_biases_says_how_to_export(tmp_path):
    (tmp_path / "wandb" / "offline-run-20250101_000000-abc").mkdir(parents=True)
    with pytest.raises(RunDirectoryError, match=r"Export the run's history .* name that file"):
        read_history(tmp_path)


def test_several_runs_of_tensorboard_are_listed(tmp_path):
    for name in ("a", "b", "eval"):
        written(tmp_path / "runs" / name / "events.out.tfevents.1.host", "")
    with pytest.raises(RunDirectoryError, match=r"2 runs of TensorBoard: 'runs/a', 'runs/b'\. Na"):
        read_history(tmp_path)


def test_a_missing_reader_of_event_files_says_what_to_install(tmp_path, monkeypatch):
    room = "tensorboard.backend.event_processing.event_file_loader"
    monkeypatch.setitem(sys.modules, room, None)
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(bytes(20) + b"brain.Event:2")
    for each in (path, tmp_path):
        with pytest.raises(RunDirectoryError, match=r"pip install 'backlight\[train\]'"):
            read_history(each)


def test_a_pipe_is_refused_at_once(tmp_path):
    import os

    os.mkfifo(tmp_path / "log.jsonl")
    with pytest.raises(RunDirectoryError, match="is a pipe, not a file with a log"):
        read_history(tmp_path / "log.jsonl")
    with pytest.raises(RunDirectoryError, match="is a device, not a file with a log"):
        read_history("/dev/zero")


def test_a_plain_file_is_read_under_any_name(tmp_path):
    written(tmp_path / "steps.jsonl", json_lines())
    assert read_history(tmp_path / "steps.jsonl").losses.tolist() == [row[1] for row in CURVE]
    assert json.loads(trainer_state())["log_history"]
