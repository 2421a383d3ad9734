import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from backlight.errors import RunDirectoryError, UsageError
from backlight.runs.directory import RunDirectory
from backlight.runs.results import CONSOLIDATED, METADATA, Results, load_results
from backlight.tables import Table

OPTIONS = {"model_name": "tiny"}
TABLE = Table(
    name="layers",
    columns={"layer": np.array([0]), "mean": np.array([0.1])},
    units={"mean": "nats/unit"},
)


@pytest.fixture
def run(tmp_path):
    """A finished run of one layer."""
    made = RunDirectory.create(tmp_path / "run", OPTIONS, {"command": "layers"})
    made.write_array("layer_0_mean_gradients.npy", np.arange(3, dtype=np.float32))
    made.write_table(TABLE)
    made.write_json(METADATA, {"num_tokens": 12})
    brief = np.array(json.dumps({"power": None}))
    arrays = {"layer_0_mean": np.arange(3, dtype=np.float32), "metadata": brief}
    made.write_arrays(CONSOLIDATED, arrays)
    made.finish({"complete": True})
    return made.path


def test_a_name_that_is_not_there_is_told_with_the_nearest(run):
    results = load_results(run)

    with pytest.raises(KeyError, match=r"no table 'layer'\. Did you mean layers\?"):
        results.tables["layer"]
    with pytest.raises(KeyError, match=r"no array 'x'\. There are layer_0_mean\."):
        results.data["x"]
    with pytest.raises(KeyError, match=r"no table 'layers'\. There are none\."):
        Results().tables["layers"]
    assert results.tables.get("layer") is None


def test_a_run_is_read_whole(run):
    results = load_results(run)

    assert results.path == run
    assert list(results.data) == ["layer_0_mean"]
    np.testing.assert_array_equal(results.data["layer_0_mean"], np.arange(3, dtype=np.float32))
    assert results.metadata == {"num_tokens": 12}
    assert list(results.tables) == ["layers"]
    assert results.tables["layers"].units == {"mean": "nats/unit"}
    assert results.config["model_name"] == "tiny"
    assert results.config["provenance"]["command"] == "layers"


def test_a_path_may_be_text(run):
    assert load_results(str(run)).metadata == load_results(run).metadata


def test_each_file_is_read_as_what_it_is(run):
    consolidated = load_results(run / CONSOLIDATED)
    assert list(consolidated.data) == ["layer_0_mean"]
    assert consolidated.metadata == {"power": None}

    array = load_results(run / "layer_0_mean_gradients.npy")
    np.testing.assert_array_equal(array.data["layer_0_mean_gradients"], [0, 1, 2])

    table = load_results(run / "tables" / "layers.csv").tables["layers"]
    assert table.to_csv() == TABLE.to_csv()

    assert load_results(run / METADATA).metadata == {"num_tokens": 12}
    assert load_results(run / "config.yaml").config["model_name"] == "tiny"


def test_an_archive_of_somebody_else_has_no_metadata(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(2))

    results = load_results(tmp_path / "a.npz")

    assert list(results.data) == ["x"]
    assert results.metadata == {}


def test_nothing_is_unpickled(tmp_path):
    for name, save in (("a.npy", np.save), ("a.npz", np.savez)):
        save(tmp_path / name, np.array([{"a": 1}], dtype=object))
        with pytest.raises(RunDirectoryError, match=rf"{name}' cannot be read: .*allow_pickle"):
            load_results(tmp_path / name)


def test_an_unfinished_run_has_no_results(run):
    (run / "manifest.json").unlink()

    with pytest.raises(RunDirectoryError, match=r"is not finished; go on with it by --resume"):
        load_results(run)


def test_a_directory_that_is_no_run_is_told(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"is not a run directory"):
        load_results(tmp_path)


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"no run directory or file '.*lost\.npz'"):
        load_results(tmp_path / "lost.npz")


def test_a_file_of_another_kind_is_told_the_endings(tmp_path):
    (tmp_path / "a.txt").write_text("text", encoding="utf-8")

    with pytest.raises(RunDirectoryError, match=r"no result of backlight: .* \.npz, \.npy, \.csv"):
        load_results(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npz", b"no archive"),
        ("a.npz", b"PK\x03\x04 cut short"),
        ("a.npy", b""),
        ("a.json", b"{"),
        ("a.yaml", b"a: ["),
        ("a.csv", b"\xff\xfa"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(RunDirectoryError, match=rf"{name}' (cannot be read|is not JSON)"):
        load_results(tmp_path / name)


def test_a_table_that_was_cut_is_named(run):
    (run / "tables" / "layers.csv").write_text("a,b\n1\n", encoding="utf-8")

    with pytest.raises(RunDirectoryError, match=r"layers\.csv' is not as the run wrote it"):
        load_results(run)
    with pytest.raises(UsageError, match=r"Line 2 of table 'layers' has 1 cells"):
        load_results(run / "tables" / "layers.csv")


def test_results_tell_what_they_hold_and_become_data_frames(run):
    pytest.importorskip("pandas")
    results = load_results(run)

    told, shown, frames = repr(results), results._repr_html_(), results.to_pandas()

    assert told.startswith("Results, saved in ")
    assert f"tables['layers']: {results.tables['layers'].num_rows} row" in told
    assert "<summary>layers</summary><table>" in shown
    assert list(frames) == list(results.tables)
    assert frames["layers"].attrs["units"] == dict(results.tables["layers"].units)


def test_names_of_others_are_no_markup_in_what_results_show():
    results = Results(metadata={"<script>\x1b": 1}, path=Path("<b>"))

    assert "<script" not in results._repr_html_()
    assert "<b>" not in results._repr_html_()
    assert "\x1b" not in repr(results) + results._repr_html_()


def test_an_archive_that_is_a_bomb_is_not_read(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("x.npy", bytes(300 * 2**20))

    with pytest.raises(RunDirectoryError, match=r"would unpack to 300 MB"):
        load_results(path)
