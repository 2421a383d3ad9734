"""Runs on file systems that publish a file at once."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.errors import RunDirectoryError, StorageError
from backlight.runs.directory import RunDirectory
from backlight.runs.opening import store_of
from backlight.runs.remote import MARK, Remote
from backlight.runs.results import load_results
from backlight.runs.stores import Disk
from backlight.runs.urls import ATOMIC, Url, place_of
from zoo.buckets import bucket, forget_connections, memory

OPTIONS, ORIGIN = {"num_samples": 3}, {"command": "layers"}


def begun(url):
    return RunDirectory.create(Path(url), OPTIONS, ORIGIN)


def test_a_path_with_a_scheme_is_a_url_and_any_other_is_of_this_machine():
    for told in ("runs/a", "/tmp/a b", "~/a", "C:/a", "a:b", "./s3", "s3"):
        assert place_of(told) == Path(told)
        assert isinstance(store_of(Path(told)), Disk)
    for told in (
        "s3://bucket/run",
        Path("s3://bucket/run"),
        "S3:/bucket//run/",
        "s3:///bucket/run",
    ):
        place = place_of(told)
        assert str(place) == "s3://bucket/run"
        assert (str(place.parent), place.name) == ("s3://bucket", "run")


@given(st.lists(st.from_regex(r"[\w =+,@-][\w .=+,@-]{0,8}", fullmatch=True), min_size=1))
def test_a_url_that_became_a_path_is_the_same_url_again(parts):
    told = "gs://" + "/".join(parts)
    if all(part.isprintable() for part in parts):
        assert str(place_of(Path(told))) == told
        assert place_of(Path(str(place_of(told)))) == place_of(told)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("sftp://host/run", "'sftp://host/run' cannot hold a run: its files appear while they are"),
        ("ftp://host/run", "could be half there"),
        ("https://host/run", "nothing can be written there"),
        ("github://user:repo@/run", "nothing can be written there"),
        ("zip://run::s3://bucket/run.zip", "stands for another file system"),
        ("simplecache::s3://bucket/run", "stands for another file system"),
        ("file:///tmp/run", "without file://"),
        ("hf://datasets/me/run", "is a commit"),
        ("somewhere://bucket/run", "not known whether somewhere:// shows files only when"),
        ("s3://", "names no bucket or folder"),
        ("s3://bucket/../other/run", "has a part '.' or '..'"),
        ("s3://bucket/run?versionId=1", "has a '[?]', '#' or backslash"),
        ("s3://bucket/run#x", "has a '[?]', '#' or backslash"),
        ("s3://bucket/a\x1b[2Jb", "cannot be printed"),
    ],
)
def test_places_that_are_not_whole_files_or_not_what_they_seem_are_refused(told, message):
    for path in (told, Path(told)):
        with pytest.raises(RunDirectoryError, match=message):
            place_of(path)


@pytest.mark.parametrize("scheme", sorted(set(ATOMIC) - {"memory", "s3", "s3a"}))
def test_a_package_that_is_missing_is_named(scheme, monkeypatch):
    import fsspec

    def missing(*_, **__):
        raise ImportError("Install something")

    monkeypatch.setattr(fsspec, "url_to_fs", missing)

    with pytest.raises(RunDirectoryError, match=f"pip install {ATOMIC[scheme]}"):
        begun(f"{scheme}://bucket/run")


def test_a_run_is_begun_kept_finished_and_read(url):
    run = begun(url)
    run.save_checkpoint({"sum": np.arange(3.0)})
    again = RunDirectory(Path(url))

    assert again.exists()
    assert not again.is_finished
    assert again.config()["num_samples"] == 3
    assert again.load_checkpoint()["sum"].tolist() == [0, 1, 2]
    with pytest.raises(RunDirectoryError, match=r"is not finished; go on with it by --resume"):
        load_results(url)
    run.write_array("a folder/numbers.npy", np.arange(2.0))
    run.finish({"command": "layers"})
    found = RunDirectory(Path(url))
    assert found.is_finished
    assert found.manifest()["files"] == ["a folder/numbers.npy", "config.yaml"]
    assert sorted(store_of(Path(url)).listed()) == [
        "a folder/numbers.npy",
        "config.yaml",
        "manifest.json",
    ]
    assert not store_of(Path(url)).has(MARK)
    assert load_results(f"{url}/a folder/numbers.npy").data["numbers"].tolist() == [0, 1]


def test_a_run_next_to_another_of_a_longer_name_is_not_mixed_with_it(url):
    begun(f"{url}2").write_text("a.csv", "a\n")

    assert store_of(Path(url)).listed() == []
    begun(url)


def test_a_run_is_only_replaced_if_asked_and_files_of_others_stay(url):
    begun(url).write_text("old.csv", "a\n")
    with pytest.raises(RunDirectoryError, match=f"'{url}' already holds a run. Give --overwrite"):
        begun(url)
    Remote(place_of(url)).write("notes.txt", b"mine")

    run = RunDirectory.create(Path(url), OPTIONS, ORIGIN, overwrite=True)

    store = store_of(Path(url))
    assert not store.has("old.csv")
    assert store.read("notes.txt") == b"mine"
    with pytest.raises(
        RunDirectoryError, match=r"notes\.txt' is there already and was not written"
    ):
        run.write_text("notes.txt", "theirs")


def test_files_of_somebody_else_are_no_run(url):
    Remote(place_of(url)).write("notes.txt", b"mine")

    with pytest.raises(RunDirectoryError, match="holds files that are no run of backlight"):
        begun(url)
    assert store_of(Path(url)).listed() == ["notes.txt"]


def test_a_run_that_another_process_took_up_is_let_go(url, caplog):
    first = begun(url)
    first.write_text("a.csv", "a\n")
    second = RunDirectory(Path(url))

    second.take_up()

    assert "was not let go by process" in caplog.text
    with pytest.raises(RunDirectoryError, match="Another process has taken up the run in"):
        first.write_text("a.csv", "b\n")
    second.write_text("a.csv", "c\n")
    second.finish({"command": "layers"})
    assert RunDirectory(Path(url)).read("a.csv") == b"c\n"


def test_a_file_that_was_changed_is_refused(url):
    run = begun(url)
    run.write_text("a.csv", "a\n1\n")
    run.finish({"command": "layers"})
    Remote(place_of(url)).write("a.csv", b"a\n2\n")

    with pytest.raises(RunDirectoryError, match=r"a\.csv' is not as the run wrote it"):
        RunDirectory(Path(url)).read("a.csv")


@pytest.mark.parametrize("name", ["../config.yaml", "/etc/passwd", "a/../../b", "~/x", "a\\b"])
def test_names_that_mean_other_places_are_refused(url, name):
    run = begun(url)

    with pytest.raises(RunDirectoryError, match="cannot be the name of a file in"):
        run.write_text(name, "x")


def test_what_is_not_there_is_said(url):
    with pytest.raises(RunDirectoryError, match=f"There is no run directory or file '{url}'"):
        load_results(url)
    with pytest.raises(RunDirectoryError, match=f"'{url}' is not a run directory"):
        RunDirectory(Path(url)).config()


def test_a_bucket_that_is_missing_and_a_server_that_is_gone_are_said(monkeypatch):
    with bucket(monkeypatch) as url:
        run = begun(url)
        with pytest.raises(
            StorageError, match=r"there is no bucket 'no-bucket'\. Nothing was begun; make it, or "
        ):
            begun("s3://no-bucket/run")
    with pytest.raises(
        StorageError, match=r"be reached .* intact; check the network and .*, and go on with --res"
    ):
        run.write_text("a.csv", "a\n")


def test_missing_credentials_are_told_before_anything_is_begun(monkeypatch, tmp_path):
    with bucket(monkeypatch) as url:
        begun(url).finish({"command": "layers"})
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.setenv(name, str(tmp_path / name))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        forget_connections()

        reason = r"there are no valid credentials \(Unable to locate credentials\)"
        remedy = r"ive them \(`aws configure`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY\)"
        with pytest.raises(
            StorageError,
            match=rf"^'{url}' cannot be written: {reason}\. Nothing was begun; g{remedy}, or name",
        ):
            RunDirectory.refuse_occupied(Path(url), replacing=True)
        with pytest.raises(StorageError, match=rf"' cannot be read: {reason}\. G{remedy}\.$"):
            load_results(url)


def test_a_file_system_that_cannot_be_opened_without_credentials_says_so(monkeypatch):
    import fsspec

    def refuse(*_, **__):
        raise ValueError("Must provide either a connection_string or account_name with credentials")

    monkeypatch.setattr(fsspec, "url_to_fs", refuse)

    with pytest.raises(
        StorageError, match=r"cannot be opened: there are no valid .* Give them \(AZURE_STORAGE_CON"
    ):
        begun("az://container/run")


def test_no_permission_is_said(monkeypatch):
    import fsspec

    system = type(fsspec.filesystem("memory"))

    def refuse(*_, **__):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(system, "pipe_file", refuse)

    with pytest.raises(StorageError, match=r"no permission \(Access Denied\)\. Nothing was begun"):
        begun(memory())


def test_a_url_is_a_path_that_opens_nothing():
    url = Url("s3:/bucket/run")

    assert not hasattr(url, "open")
    assert hash(url / "a") == hash(Url("s3:/bucket/run/a"))
