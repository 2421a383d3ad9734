"""`backlight layers` written to another file system, gone on with there, and read from there."""

import io
import shlex
from pathlib import Path

import numpy as np
import pytest

import backlight
from backlight.cli import main
from backlight.errors import RunDirectoryError, StorageError
from backlight.runs import shards
from backlight.runs.directory import RunDirectory
from backlight.runs.opening import store_of
from backlight.runs.remote import Remote
from backlight.runs.results import PAGE
from backlight.runs.urls import place_of
from zoo.buckets import memory
from zoo.folders import numbers

pytestmark = pytest.mark.usefixtures("place", "no_figures")


@pytest.fixture
def cut(options, monkeypatch):
    """A survey that is cut into several shards."""
    real = shards.cut
    monkeypatch.setattr(
        "backlight.surveys.driver.shards.sharding.cut", lambda num, **_: real(num, least=40)
    )
    return {**options, "quiet": True}


def fetched(url, folder):
    """Copy all files of a run to this machine."""
    store = store_of(Path(url))
    for name in store.listed():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(store.read(name))
    return folder


def failing(monkeypatch, after):
    """Let the network fail at the write after so many, and ever after."""
    real, written = Remote.write, []

    def write(self, name, content):
        written.append(name)
        if len(written) > after:
            raise StorageError(f"{name}: no network")
        real(self, name, content)

    monkeypatch.setattr(Remote, "write", write)
    return written


def test_a_run_has_the_same_files_and_numbers_as_on_disk(cut, url, place):
    here = backlight.layers(**cut, output_dir="here")

    there = backlight.layers(**cut, output_dir=url)

    copy = fetched(url, place / "copy")
    files = {str(each.relative_to(copy)) for each in copy.rglob("*") if each.is_file()}
    own = {
        str(each.relative_to(place / "here"))
        for each in (place / "here").rglob("*")
        if each.is_file()
    }
    assert files == own
    assert numbers(copy) == numbers(place / "here")
    assert str(there.path) == url
    read = backlight.load_results(url)
    assert str(read.path) == url
    for name, array in here.data.items():
        assert np.array_equal(read.data[name], array)
    assert sorted(each.name for each in place.iterdir()) == ["copy", "here"]


@pytest.mark.parametrize(
    "after", [9, *(pytest.param(each, marks=pytest.mark.slow) for each in (4, 14, 21))]
)
def test_a_network_that_fails_loses_nothing(cut, place, monkeypatch, after):
    backlight.layers(**cut, output_dir="here")
    url = memory()
    with monkeypatch.context() as patch:
        written = failing(patch, after)
        try:
            backlight.layers(**cut, output_dir=url)
        except StorageError:
            assert len(written) == after + 1

    backlight.layers(**cut, output_dir=url, resume=True)

    assert numbers(fetched(url, place / "copy")) == numbers(place / "here")
    assert not any(name.startswith(("shards/", ".")) for name in store_of(Path(url)).listed())


def test_parts_that_others_measure_are_merged(cut, url, place, capsys):
    backlight.layers(**cut, output_dir="here")
    words = [f"--{name}={value}" for name, value in cut.items() if name != "quiet"]
    assert main(["plan", "layers", *words, "--output_dir", url]) == 0
    assert f"backlight merge {shlex.quote(url)}" in capsys.readouterr().out
    assert main(["worker", url, "--part", "0/2"]) == 0
    assert f"of part 0/2 in {url}" in capsys.readouterr().out
    assert main(["merge", url]) == 2
    assert f"shards of the run in '{url}' are not measured yet" in capsys.readouterr().err
    assert main(["worker", url, "--part", "1/2"]) == 0
    assert main(["merge", url]) == 0

    assert numbers(fetched(url, place / "copy")) == numbers(place / "here")


def test_a_damaged_state_is_refused(cut, capsys):
    url = memory()
    words = [f"--{name}={value}" for name, value in cut.items() if name != "quiet"]
    assert main(["plan", "layers", *words, "--output_dir", url]) == 0
    assert main(["worker", url, "--part", "0/1"]) == 0
    remote = Remote(place_of(url))
    name = min(each for each in remote.listed() if each.startswith("shards/"))
    remote.write(name, remote.read(name)[:-100])
    capsys.readouterr()

    assert main(["merge", url]) == 2
    told = capsys.readouterr().err
    assert f"'{url}/{name}' is damaged" in told
    assert "delete it to measure them anew" in told


def test_a_run_there_is_replaced_gone_on_with_or_refused(cut):
    url = memory()
    backlight.layers(**cut, output_dir=url)

    with pytest.raises(RunDirectoryError, match=r"already holds a run\. Give --overwrite"):
        backlight.layers(**cut, output_dir=url)
    with pytest.raises(RunDirectoryError, match=f"'{url}' holds a run with other options"):
        backlight.layers(**{**cut, "max_length": 7}, output_dir=url, resume=True)
    assert backlight.layers(**cut, output_dir=url, resume=True).metadata["num_tokens"] > 0
    found = backlight.layers(**{**cut, "max_length": 7}, output_dir=url, overwrite=True)
    assert backlight.load_results(url).metadata["num_tokens"] == found.metadata["num_tokens"]


def test_others_read_a_run_there(cut, place, capsys, monkeypatch):
    url = memory()
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: place / "cache")
    backlight.layers(**cut, output_dir=url)
    backlight.layers(**cut, output_dir="here")
    before = store_of(Path(url)).read("tables/layers.csv")

    assert main(["open", url, "--no_browser"]) == 0
    page = Path(capsys.readouterr().out.strip().replace("\n", ""))
    assert page.is_file()
    assert page.is_relative_to(place / "cache")
    assert url in page.read_text()
    assert main(["compare", url, "here", "--output_dir", f"{url} compared", "--quiet"]) == 0
    assert backlight.load_results(f"{url} compared").tables
    assert main(["report", url, "--figures", "overview"]) == 0
    assert f"redrawn in {url}" in capsys.readouterr().out
    store = store_of(Path(url))
    assert PAGE in RunDirectory(Path(url)).manifest()["files"]
    assert store.read("tables/layers.csv") == before
    assert main(["layers", f"{url}/config.yaml", "--quiet"]) == 0
    with np.load(io.BytesIO(store.read("consolidated_results.npz"))) as arrays:
        assert len(arrays) > 1


def test_other_commands_write_nothing_there(capsys, place):
    for words in (
        ["train-world", "--output_dir", "s3://bucket/world"],
        ["demo", "--output_dir", "s3://bucket/demo"],
    ):
        assert main(words) == 2
        assert "only surveys and experiments write their runs" in capsys.readouterr().err
    assert not list(place.iterdir())
