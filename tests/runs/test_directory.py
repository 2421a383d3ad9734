import hashlib
import json

import numpy as np
import pytest
import yaml

from backlight.errors import RunDirectoryError, StorageError
from backlight.runs.config import PROVENANCE
from backlight.runs.directory import RunDirectory
from backlight.runs.finding import find_latest
from backlight.tables import Table
from zoo.folders import contents

OPTIONS = {"model_name": "tiny", "seed": 0}


def begun(path, *, seed=0, started="2025-01-01T00:00:00+00:00", command="layers"):
    return RunDirectory.create(
        path, {**OPTIONS, "seed": seed}, {"command": command, "started": started}
    )


def finished(path, **options):
    run = begun(path, **options)
    run.write_array("layer_0_mean_gradients.npy", np.arange(3.0))
    run.write_text("tables/layers.csv", "layer\n0\n")
    run.finish({"complete": True})
    return run


def test_a_run_begins_with_its_options_and_their_origin(tmp_path):
    run = begun(tmp_path / "runs" / "a")

    assert yaml.safe_load((run.path / "config.yaml").read_text(encoding="utf-8")) == {
        **OPTIONS,
        "provenance": {"command": "layers", "started": "2025-01-01T00:00:00+00:00"},
    }
    assert run.exists()
    assert not run.is_finished
    assert run.provenance()["command"] == "layers"
    assert PROVENANCE == "provenance"


def test_a_run_may_begin_in_an_empty_directory(tmp_path):
    assert begun(tmp_path).exists()


def test_the_manifest_makes_a_run_finished_and_lists_its_files(tmp_path):
    run = begun(tmp_path)
    run.save_checkpoint({"counts": np.array([1])})
    run.write_array("a.npy", np.arange(2))
    run.write_table(Table(name="layers", columns={"layer": np.array([0])}))

    run.finish({"complete": True, "loss": float("nan")})

    assert run.is_finished
    assert run.manifest() == {
        "complete": True,
        "loss": None,
        "files": ["a.npy", "config.yaml", "tables/layers.csv"],
        "sha256": {
            name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
            for name in ("a.npy", "config.yaml", "tables/layers.csv")
        },
    }
    assert set(contents(tmp_path)) == {
        "a.npy",
        "config.yaml",
        "manifest.json",
        "tables/layers.csv",
    }


def test_the_manifest_is_written_last_and_the_checkpoint_goes_after_it(tmp_path, monkeypatch):
    run = begun(tmp_path)
    run.save_checkpoint({"counts": np.array([1])})
    seen = []
    monkeypatch.setattr(
        run, "write_json", lambda name, content: seen.append((name, run.load_checkpoint()))
    )

    run.finish({})

    assert [name for name, _ in seen] == ["manifest.json"]
    assert seen[0][1] is not None
    assert run.load_checkpoint() is None


def test_an_existing_run_is_refused_with_three_ways_out(tmp_path):
    finished(tmp_path)
    before = contents(tmp_path)

    with pytest.raises(
        RunDirectoryError, match=r"already holds a run\. Give --overwrite .* --resume .* another"
    ):
        begun(tmp_path)

    assert contents(tmp_path) == before


def test_a_file_is_no_directory_for_results(tmp_path):
    (tmp_path / "out").write_text("mine", encoding="utf-8")

    with pytest.raises(RunDirectoryError, match=r"out' is a file, not a directory for results"):
        begun(tmp_path / "out")


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_somebody_else_are_never_deleted(tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")

    with pytest.raises(RunDirectoryError, match=r"holds files that are no run of backlight"):
        RunDirectory.create(tmp_path, OPTIONS, {"command": "layers"}, overwrite=overwrite)

    assert set(contents(tmp_path)) == {"thesis.tex"}


def test_a_config_that_backlight_did_not_write_is_not_overwritten(tmp_path):
    (tmp_path / "config.yaml").write_text("learning_rate: 0.1\n", encoding="utf-8")

    with pytest.raises(RunDirectoryError, match=r"its config\.yaml was not written by backlight"):
        RunDirectory.create(tmp_path, OPTIONS, {"command": "layers"}, overwrite=True)

    assert contents(tmp_path) == {"config.yaml": b"learning_rate: 0.1\n"}


def test_overwriting_deletes_a_run_and_nothing_else(tmp_path):
    finished(tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")

    RunDirectory.create(tmp_path, OPTIONS, {"command": "layers"}, overwrite=True)

    assert set(contents(tmp_path)) == {".written", "config.yaml", "notes.txt"}


def test_overwriting_an_unfinished_run_forgets_its_checkpoint(tmp_path):
    begun(tmp_path).save_checkpoint({"counts": np.array([1])})

    run = RunDirectory.create(tmp_path, OPTIONS, {"command": "layers"}, overwrite=True)

    assert run.load_checkpoint() is None


def test_overwriting_never_reaches_out_of_the_directory(tmp_path):
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    run = begun(tmp_path / "run")
    manifest = {"files": ["../precious.txt", str(tmp_path / "precious.txt")]}
    run.write_json("manifest.json", manifest)

    RunDirectory.create(run.path, OPTIONS, {"command": "layers"}, overwrite=True)

    assert (tmp_path / "precious.txt").read_text(encoding="utf-8") == "mine"


def test_a_checkpoint_comes_back_bit_by_bit(tmp_path):
    run = begun(tmp_path)
    state = {"a/sum": np.array([0.1, -0.0, 1e-310]), "counts": np.array([3, 2**62])}

    run.save_checkpoint(state)

    loaded = run.load_checkpoint()
    assert loaded is not None
    assert {name: array.tobytes() for name, array in loaded.items()} == {
        name: array.tobytes() for name, array in state.items()
    }
    assert all(loaded[name].dtype == array.dtype for name, array in state.items())


def test_a_run_without_a_checkpoint_has_none(tmp_path):
    assert begun(tmp_path).load_checkpoint() is None


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut"], ids=len)
def test_a_damaged_checkpoint_is_told(tmp_path, content):
    run = begun(tmp_path)
    (tmp_path / "checkpoint.npz").write_bytes(content)

    with pytest.raises(
        RunDirectoryError, match=r"The checkpoint in .* is damaged, or was kept by .* --overwrite"
    ):
        run.load_checkpoint()


def test_differences_say_what_is_here_and_what_was_asked(tmp_path):
    run = begun(tmp_path)

    assert run.differences(OPTIONS) == []
    assert run.differences({"model_name": "other", "seed": 1, "power": 2.0}) == [
        "model_name: 'tiny' -> 'other'",
        "seed: 0 -> 1",
        "power: None -> 2.0",
    ]


def test_the_newest_unfinished_run_with_the_same_options_is_found(tmp_path):
    begun(tmp_path / "z_old", started="2025-01-01T00:00:00+00:00")
    newest = begun(tmp_path / "a_new", started="2025-02-01T00:00:00+00:00")
    begun(tmp_path / "other_seed", started="2025-03-01T00:00:00+00:00", seed=1)
    begun(tmp_path / "other_command", started="2025-03-01T00:00:00+00:00", command="sae")
    finished(tmp_path / "done", started="2025-04-01T00:00:00+00:00")

    assert find_latest(tmp_path, "layers", OPTIONS).path == newest.path


def test_without_a_match_the_candidates_are_listed_with_what_differs(tmp_path):
    begun(tmp_path / "first", seed=1)
    begun(tmp_path / "second", seed=2)
    finished(tmp_path / "done", seed=3)

    with pytest.raises(
        RunDirectoryError,
        match=r"no unfinished run with these options in .* Unfinished are: "
        r".*first \(seed: 1 -> 0\), .*second \(seed: 2 -> 0\)\. Name one with --output_dir",
    ) as caught:
        find_latest(tmp_path, "layers", OPTIONS)

    assert "done" not in str(caught.value)


def test_without_any_run_there_are_no_candidates(tmp_path):
    with pytest.raises(
        RunDirectoryError, match=r"no unfinished run with these options in '.*nowhere'\. Name one"
    ):
        find_latest(tmp_path / "nowhere", "layers", OPTIONS)


def test_directories_of_other_tools_are_no_candidates(tmp_path):
    run = begun(tmp_path / "ours")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "config.yaml").write_text("lr: 0.1\n", encoding="utf-8")

    assert find_latest(tmp_path, "layers", OPTIONS).path == run.path


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read"),
        ("a: [", "cannot be read"),
        ("- a list", "was not written by backlight"),
        ("seed: 0", "was not written by backlight"),
        ("seed: 0\nprovenance: none", "was not written by backlight"),
    ],
)
def test_a_directory_without_our_config_is_no_run(tmp_path, content, complaint):
    if content is not None:
        (tmp_path / "config.yaml").write_text(content, encoding="utf-8")

    with pytest.raises(RunDirectoryError, match=rf"is not a run directory: its .* {complaint}"):
        RunDirectory(tmp_path).config()


@pytest.mark.parametrize("content", [None, "{"], ids=["missing", "cut"])
def test_a_manifest_that_cannot_be_read_is_told(tmp_path, content):
    run = begun(tmp_path)
    if content is not None:
        (tmp_path / "manifest.json").write_text(content, encoding="utf-8")

    with pytest.raises(RunDirectoryError, match=r"holds no finished run: its manifest\.json"):
        run.manifest()


def test_json_knows_numpy_and_has_no_nan(tmp_path):
    run = begun(tmp_path)

    run.write_json(
        "a.json", {"x": np.float32(0.5), 3: (np.int64(2), float("inf")), "deep": [{"y": np.nan}]}
    )

    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert found == {"x": 0.5, "3": [2, None], "deep": [{"y": None}]}


def test_arrays_are_written_as_they_are(tmp_path):
    run = begun(tmp_path)

    run.write_array("a.npy", np.arange(3, dtype=np.float32))
    run.write_arrays("b.npz", {"a": np.arange(3.0)})

    assert np.load(tmp_path / "a.npy").dtype == np.float32
    with np.load(tmp_path / "b.npz") as arrays:
        np.testing.assert_array_equal(arrays["a"], np.arange(3.0))


def test_overwriting_an_unfinished_run_deletes_what_it_wrote_and_nothing_else(tmp_path):
    run = RunDirectory.create(tmp_path / "run", {"a": 1}, {"command": "layers"})
    run.write_text("layer_7_mean_gradients.npy", "old")
    run.write_text("tables/layers.csv", "old")
    (tmp_path / "run" / "notes.txt").write_text("mine")

    RunDirectory.create(tmp_path / "run", {"a": 2}, {"command": "layers"}, overwrite=True)

    left = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert left == {".written", "config.yaml", "notes.txt"}


def test_taking_up_a_run_deletes_its_scraps_and_no_others(tmp_path):
    run = RunDirectory.create(tmp_path / "run", {"a": 1}, {"command": "layers"})
    run.write_text("tables/layers.csv", "whole")
    theirs = [".layers.csv.77.part", ".backlight-1.part", "film.part"]
    for folder in (run.path, run.path / "tables"):
        for name in (f".backlight-{16 * 'a'}.part", *theirs):
            (folder / name).write_text("hal")

    run.take_up()

    left = sorted(str(part.relative_to(run.path)) for part in run.path.rglob("*.part"))
    assert left == sorted([*theirs, *(f"tables/{name}" for name in theirs)])
    assert (run.path / "tables" / "layers.csv").read_text() == "whole"


def test_a_file_of_somebody_is_not_overwritten_by_a_new_name(tmp_path):
    run = begun(tmp_path)
    (tmp_path / "layer_7.npy").write_bytes(b"mine")

    with pytest.raises(RunDirectoryError, match=r"layer_7\.npy' is there already and was not writ"):
        run.write_array("layer_7.npy", np.zeros(3))
    assert (tmp_path / "layer_7.npy").read_bytes() == b"mine"


def test_a_manifest_of_somebody_is_not_overwritten(tmp_path):
    run = begun(tmp_path)
    (tmp_path / "manifest.json").write_text("mine")

    with pytest.raises(RunDirectoryError, match=r"its manifest\.json cannot be read"):
        run.finish({})
    assert (tmp_path / "manifest.json").read_text() == "mine"


def test_a_checkpoint_of_somebody_is_neither_deleted_nor_overwritten(tmp_path):
    finished(tmp_path)
    (tmp_path / "checkpoint.npz").write_bytes(b"mine")

    run = RunDirectory.create(tmp_path, OPTIONS, {"command": "layers"}, overwrite=True)
    with pytest.raises(RunDirectoryError, match=r"checkpoint\.npz' is there already"):
        run.save_checkpoint({"counts": np.array([1])})

    assert (tmp_path / "checkpoint.npz").read_bytes() == b"mine"


def test_a_config_alone_is_no_run(tmp_path):
    finished(tmp_path / "run")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "config.yaml").write_bytes((tmp_path / "run/config.yaml").read_bytes())

    assert not RunDirectory(tmp_path / "copy").exists()
    with pytest.raises(RunDirectoryError, match=r"holds files that are no run of backlight"):
        RunDirectory.create(tmp_path / "copy", OPTIONS, {"command": "layers"}, overwrite=True)


@pytest.mark.parametrize("left", [[".written"], [f".backlight-{16 * 'a'}.part"], []])
def test_what_is_left_of_a_run_that_was_killed_as_it_began_is_nothing(tmp_path, left):
    run = begun(tmp_path)
    run.path.joinpath("config.yaml").unlink()
    for name in {".written", *left} - {*left}:
        (tmp_path / name).unlink()
    for name in left:
        (tmp_path / name).touch()

    assert begun(tmp_path).exists()
    assert set(contents(tmp_path)) == {".written", "config.yaml"}


def test_a_journal_that_was_cut_is_whole_again_when_a_run_goes_on(tmp_path):
    run = begun(tmp_path)
    run.write_array("a.npy", np.arange(2))
    with (tmp_path / ".written").open("a") as journal:
        journal.write("tables/lay")  # killed in the middle of a line

    again = RunDirectory(tmp_path)
    again.take_up()
    again.write_text("tables/layers.csv", "a\n")
    again.finish({})

    assert again.manifest()["files"] == ["a.npy", "config.yaml", "tables/layers.csv"]


def test_a_file_that_was_edited_is_named(tmp_path):
    run = finished(tmp_path)
    (tmp_path / "tables" / "layers.csv").write_text("layer\n1\n")

    assert run.read("layer_0_mean_gradients.npy")
    with pytest.raises(RunDirectoryError, match=r"layers\.csv' is not as the run wrote it: it was"):
        run.read("tables/layers.csv")
    for name in ("tables/other.csv", "../secret"):
        with pytest.raises(RunDirectoryError, match=r"lists no file "):
            run.read(name)


def test_a_file_that_is_drawn_again_is_listed_with_its_new_digest(tmp_path):
    finished(tmp_path)

    run = RunDirectory(tmp_path)
    run.take_up()
    run.write_bytes("figures/new.png", b"new")
    run.write_text("tables/layers.csv", "layer\n1\n")
    run.list_again()

    assert run.read("figures/new.png") == b"new"
    assert run.read("tables/layers.csv") == b"layer\n1\n"
    assert run.manifest()["complete"] is True
    assert not (tmp_path / ".written").exists()


def test_files_of_a_run_that_went_on_are_all_listed(tmp_path):
    begun(tmp_path).write_array("first.npy", np.arange(2))

    run = RunDirectory(tmp_path)
    run.take_up()
    run.write_array("second.npy", np.arange(3))
    run.finish({})

    assert run.manifest()["files"] == ["config.yaml", "first.npy", "second.npy"]
    assert np.array_equal(np.load(tmp_path / "first.npy"), np.arange(2))


def test_a_finished_run_is_found_if_no_unfinished_one_is(tmp_path):
    finished(tmp_path / "old", started="2025-01-01T00:00:00+00:00")
    newest = finished(tmp_path / "new", started="2025-04-01T00:00:00+00:00")

    assert find_latest(tmp_path, "layers", OPTIONS).path == newest.path


def test_a_run_that_was_moved_away_is_told(tmp_path):
    run = begun(tmp_path / "run")
    run.path.rename(tmp_path / "elsewhere")

    for write in (
        lambda: run.save_checkpoint({"counts": np.array([1])}),
        lambda: run.write_text("a.txt", "a"),
        lambda: run.finish({}),
    ):
        with pytest.raises(StorageError, match=r"the run directory was moved or deleted while"):
            write()
    assert not run.path.exists()


@pytest.mark.parametrize("num_deleted", range(3))
def test_a_run_that_was_killed_while_it_was_replaced_can_be_replaced(
    tmp_path, monkeypatch, num_deleted
):
    finished(tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    real, done = type(tmp_path).unlink, []

    def unlink(self, **options):
        if len(done) == num_deleted:
            raise KeyboardInterrupt
        done.append(self)
        real(self, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            RunDirectory.create(tmp_path, OPTIONS, {"command": "layers"}, overwrite=True)

    with pytest.raises(RunDirectoryError, match="already holds a run"):
        begun(tmp_path)
    RunDirectory.create(tmp_path, OPTIONS, {"command": "layers"}, overwrite=True)
    assert set(contents(tmp_path)) == {".written", "config.yaml", "notes.txt"}
