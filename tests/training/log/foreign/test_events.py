"""Event files of TensorBoard, written and read by its own package."""

import pytest

from backlight.errors import RunDirectoryError
from backlight.training.log.reading import read_history
from zoo.logs import CURVE

pytest.importorskip("tensorboard")

STEPS = [row[0] for row in CURVE]


def write(folder, rows, **kwargs):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder, **kwargs) as writer:
        for step, loss, norm, rate in rows:
            writer.add_scalar("train/loss", loss, step)
            writer.add_scalar("train/grad_norm", norm, step, new_style=True)
            writer.add_scalar("train/learning_rate", rate, step)
            if step % 200 == 0:
                writer.add_scalar("eval/loss", 9.0, step)
        writer.add_text("args", "{}")
    return max(folder.iterdir())


def test_scalars_are_read_from_a_file_and_from_folders(tmp_path):
    file = write(tmp_path / "out" / "runs" / "May01_host", CURVE)
    for path in (file, file.parent, tmp_path / "out"):
        history = read_history(path)
        assert history.steps.tolist() == history.loss_steps.tolist() == STEPS
        assert history.losses == pytest.approx([row[1] for row in CURVE])
        assert history.global_norm == pytest.approx([row[2] for row in CURVE])
        assert history.learning_rates[:, 0] == pytest.approx([row[3] for row in CURVE])
        assert "60 steps of loss and gradient norm, TensorBoard." in history.understood


def test_a_second_file_of_a_folder_goes_on_with_the_run(tmp_path):
    write(tmp_path, CURVE[:40], filename_suffix=".a")
    write(tmp_path, [(step, 9.0, 1.0, 0.1) for step in STEPS[35:50]], filename_suffix=".b")

    history = read_history(tmp_path)

    assert history.loss_steps.tolist() == STEPS[:50]
    assert history.losses[35:].tolist() == [9.0] * 15


def test_a_file_that_is_cut_or_damaged_is_read_up_to_there_and_told(tmp_path):
    file = write(tmp_path, CURVE)
    content = file.read_bytes()
    middle = content.index(b"train/loss", len(content) // 2)
    file.write_bytes(content[: middle + 3])
    cut = read_history(file)
    file.write_bytes(content[:middle] + b"T" + content[middle + 1 :])
    damaged = read_history(file)

    assert 25 < len(cut.losses) < 35
    assert "The last record is cut off, as while a log is being written." in cut.understood
    assert damaged.losses.tolist() == cut.losses.tolist()
    assert "is damaged, and TensorBoard's reader stops there" in damaged.understood


def test_a_file_that_is_damaged_at_once_is_said(tmp_path):
    file = write(tmp_path, CURVE)
    content = bytearray(file.read_bytes())
    content[9] ^= 255
    file.write_bytes(bytes(content))
    with pytest.raises(
        RunDirectoryError, match=r"no record with names .*Record 1 of .* is damaged"
    ):
        read_history(file)
