import os
import socket
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from backlight.errors import ConfigError
from backlight.foreign.files import (
    check_archive,
    check_file,
    open_foreign,
    read_bytes,
    read_text,
)


@pytest.fixture
def strange(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "closed.txt").write_text("x" * 101, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pipe", "is a pipe, not a file"),
        ("link", "is a pipe, not a file"),
        ("folder", "is a folder, not a file"),
        ("/dev/zero", "is a device, not a file"),
        ("/dev/null", "is a device, not a file"),
        ("missing", "There is no file '.*missing'"),
        ("closed.txt/below", "There is no file"),
        ("circle", "cannot be read: Too many levels of symbolic links"),
        ("a\0b", r"'.*a\\x00b' cannot be read"),
        ("n" * 300, "cannot be read: File name too long"),
        ("closed.txt", "has 101 bytes, but a file of its kind has 100 bytes at most"),
    ],
)
def test_what_is_no_sensible_file_is_refused_at_once(name, told, strange):
    started = time.monotonic()
    for reader in (check_file, open_foreign, read_bytes, read_text):
        with pytest.raises(ConfigError, match=told):
            reader(strange / name, error=ConfigError, most=100)
    assert time.monotonic() - started < 2


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("door")
        with pytest.raises(ConfigError, match="is a socket, not a file"):
            open_foreign(Path("door"), error=ConfigError)


@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_is_read_in_every_unicode_code_and_with_every_line_end(code, end, tmp_path):
    path = tmp_path / "text"
    path.write_bytes(f"één{end}two{end}".encode(code))

    assert read_text(path, error=ConfigError, most=1000) == "één\ntwo\n"


def test_bytes_that_are_no_text_are_refused_with_their_place(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"abc\xff\xfa")

    with pytest.raises(ConfigError, match=r"cannot be read: it is no text in UTF-8 \(byte 3\)"):
        read_text(path, error=ConfigError, most=1000)


def test_an_archive_that_unpacks_to_very_much_is_refused_unread(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for place in range(3):
            archive.writestr(f"{place}.npy", bytes(100 * 2**20))

    with path.open("rb") as file, pytest.raises(ConfigError, match=r"unpack to 300 MB: no file"):
        check_archive(path, file, error=ConfigError)


def test_an_archive_of_numbers_passes(tmp_path):
    path = tmp_path / "numbers.npz"
    np.savez_compressed(path, a=np.zeros(1_000_000), b=np.random.default_rng(0).random(1000))

    with path.open("rb") as file:
        check_archive(path, file, error=ConfigError)
        assert file.tell() == 0


def test_no_archive_is_left_to_its_reader(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"PK\x03\x04 and nothing else")

    with path.open("rb") as file:
        check_archive(path, file, error=ConfigError)
