import errno
import io

import pytest

from backlight.errors import RunDirectoryError
from backlight.runs import places
from backlight.runs.places import below, fault_of, refuse_place


@pytest.mark.parametrize(
    "name", ["a.npy", "tables/layers.csv", "figures/ä b (1)=2.png", ".written", 200 * "x"]
)
def test_a_plain_name_is_a_path_below(tmp_path, name):
    assert fault_of(name) is None
    assert below(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "it is absolute"),
        ("~/a", "it is absolute"),
        ("../a", "it has an empty part"),
        ("a/../../b", "it has an empty part"),
        ("a//b", "it has an empty part"),
        ("./a", "it has an empty part"),
        ("a/", "it has an empty part"),
        ("", "it has an empty part"),
        ("..", "it has an empty part"),
        ("..\\a", "a backslash or a colon"),
        ("C:a", "a backslash or a colon"),
        ("a:stream", "a backslash or a colon"),
        ("a\0b", "cannot be printed"),
        ("a\nb", "cannot be printed"),
        ("\x1b[2J", "cannot be printed"),
        ("\u202ea", "cannot be printed"),
        ("\ud800", "cannot be printed"),
        (201 * "x", "too long"),
        (60 * "\U0001f526", "too long"),
        (200 * "folder/" + "a", "too long"),
    ],
)
def test_a_name_that_may_mean_another_place_is_refused(tmp_path, name, reason):
    with pytest.raises(RunDirectoryError, match=rf"cannot be the name of a file in .*{reason}"):
        below(tmp_path, name)


@pytest.mark.parametrize("name", ["link", "link/a", "folder/link", "folder/link/a"])
def test_nothing_is_written_through_a_link(tmp_path, name):
    (tmp_path / "run" / "folder").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for link in ("link", "folder/link"):
        (tmp_path / "run" / link).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(RunDirectoryError, match=r"link' is a symbolic link, .* writes and deletes"):
        below(tmp_path / "run", name)


def test_the_directory_itself_may_be_reached_through_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "real")

    assert below(tmp_path / "run", "a") == tmp_path / "run" / "a"


def test_a_disk_that_takes_an_empty_file_and_no_more_is_refused(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, _, /):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(places.tempfile, "TemporaryFile", lambda dir: Full())

    with pytest.raises(
        RunDirectoryError, match=r"nothing can be written in .* \(No space left on d"
    ):
        refuse_place(tmp_path / "run")
