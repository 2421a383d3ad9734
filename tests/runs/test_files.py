import errno
import io
from pathlib import Path

import numpy as np
import pytest

from backlight.errors import StorageError
from backlight.runs import files
from backlight.runs.files import npy_bytes, npz_bytes, write_file


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_written_with_its_folder(tmp_path):
    write_file(tmp_path / "tables" / "layers.csv", b"layer\n0\n")

    assert (tmp_path / "tables" / "layers.csv").read_bytes() == b"layer\n0\n"
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["layers.csv"]


def test_a_file_is_replaced(tmp_path):
    write_file(tmp_path / "a", b"a long first version")
    write_file(tmp_path / "a", b"second")

    assert (tmp_path / "a").read_bytes() == b"second"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, step):
    write_file(tmp_path / "checkpoint.npz", b"before")
    if step == "fsync":
        monkeypatch.setattr(files.os, "fsync", full_disk)
    else:
        monkeypatch.setattr(files.Path, "replace", full_disk)

    with pytest.raises(
        StorageError,
        match=r"checkpoint\.npz' cannot be written: No space left on device\. Make room\.$",
    ):
        write_file(tmp_path / "checkpoint.npz", b"after")

    assert (tmp_path / "checkpoint.npz").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps = []
    real_fsync, real_replace = files.os.fsync, files.Path.replace
    monkeypatch.setattr(files.os, "fsync", lambda fd: (steps.append("fsync"), real_fsync(fd)))
    monkeypatch.setattr(
        files.Path,
        "replace",
        lambda path, target: (steps.append("replace"), real_replace(path, target))[1],
    )

    write_file(tmp_path / "a", b"content")

    assert steps == ["fsync", "replace"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "runs").write_text("a file", encoding="utf-8")

    with pytest.raises(StorageError, match=r"layers\.csv' cannot be written: "):
        write_file(tmp_path / "runs" / "layers.csv", b"")

    assert (tmp_path / "runs").read_text(encoding="utf-8") == "a file"


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(3.5),
        np.array("text"),
        np.zeros(0, dtype=np.int64),
        np.array([np.nan, -0.0, np.inf]),
    ],
    ids=["float32", "fortran", "scalar", "text", "empty", "special"],
)
def test_an_array_is_read_back_without_pickle(array):
    read = np.load(io.BytesIO(npy_bytes(array)), allow_pickle=False)

    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


def test_objects_are_never_pickled():
    with pytest.raises(ValueError, match="allow_pickle=False"):
        npy_bytes(np.array([{"a": 1}], dtype=object))


def test_arrays_are_read_back_by_name():
    arrays = {"layers.0.mlp.out/moments/sum": np.arange(3.0), "counts": np.array([1, 2])}

    with np.load(io.BytesIO(npz_bytes(arrays)), allow_pickle=False) as read:
        assert list(read) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array)


def test_equal_arrays_give_equal_bytes_at_any_time(monkeypatch):
    first = npz_bytes({"a": np.arange(3.0)})
    monkeypatch.setattr("time.localtime", lambda *_: (2030, 1, 1, 0, 0, 0, 0, 0, 0))
    monkeypatch.setattr("time.time", lambda: 1.9e9)

    assert npz_bytes({"a": np.arange(3.0)}) == first


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "allow it to be written"),
        (errno.EDQUOT, "make room"),
        (errno.EIO, "mend that"),
    ],
)
@pytest.mark.parametrize("begun", [True, False])
def test_only_of_a_run_that_was_begun_it_is_said_that_it_can_go_on(number, remedy, begun):
    told = str(files.unwritable(Path("out"), OSError(number, "No"), begun=begun))

    assert told == "'out' cannot be written: No. " + (
        f"What was saved before is intact; {remedy}, and go on with --resume."
        if begun
        else f"Nothing was begun; {remedy}, or name another --output_dir."
    )
