"""Damaged, forged and crowded run directories on the command line."""

import json
import shutil
import zipfile
from itertools import product

import numpy as np
import pytest
import torch

import backlight
from backlight.surveys.layers import figures
from backlight.surveys.layers.measure import setup
from zoo.harm import ARRAY_HARMS, HARMS, forged, harmed_arrays
from zoo.hostile import attack
from zoo.stopping import stopping

LAB = {"num_steps": 2, "block_size": 8, "batch_size": 2, "n_layer": 1, "n_head": 2, "n_embd": 16}
READ = ("config.yaml", "manifest.json", "metadata.json", "consolidated_results.npz")
TABLE = "tables/layers.csv"


@pytest.fixture(scope="session")
def runs(tmp_path_factory, model_folder, text_file):
    """A finished and an unfinished survey of the tiny model, and a finished lab."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("runs")
    options = {
        "model_name": str(model_folder),
        "dataset": str(text_file),
        "device": "cpu",
        "batch_size": 3,
        "max_length": 12,
        "layers": "0,2",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "draw", lambda results: iter(()))
        backlight.layers(**options, output_dir=root / "layers")
        with stopping(setup, "profile", 2), pytest.raises(KeyboardInterrupt):
            backlight.layers(**options, output_dir=root / "unfinished")
    backlight.lab("ln-jacobian", output_dir=root / "lab", **LAB)
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return root, [str(word) for word in words]


@pytest.fixture
def place(runs, tmp_path):
    """A copy of all runs, beside files of somebody else."""
    shutil.copytree(runs[0], tmp_path / "place")
    (tmp_path / "place" / "victim").mkdir()
    (tmp_path / "place" / "victim" / "logo.png").write_bytes(b"precious")
    return tmp_path / "place"


@pytest.fixture
def no_drawing(monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda results: iter(()))


@pytest.mark.parametrize(("harm", "file"), list(product(HARMS, (*READ, TABLE))))
def test_no_report_comes_out_of_a_damaged_run(place, harm, file, no_drawing):
    run = place / "layers"
    HARMS[harm](run / file)

    # One byte may be a space of the manifest, or in the digest of a file that reports do not read.
    may_pass = file == "manifest.json" and "flipped" in harm
    written = [run] if may_pass else []
    outcome = attack(["report", str(run)], place=place, results=written, ok=may_pass)

    assert outcome.status == 2 or may_pass


@pytest.mark.parametrize("harm", HARMS)
def test_to_resume_a_damaged_finished_run_shows_no_table(place, runs, harm):
    HARMS[harm](place / "layers" / TABLE)

    words = ["layers", *runs[1], "--output_dir", str(place / "layers"), "--resume"]
    assert attack(words, place=place).status == 2


def flip_in_largest(archive):
    """Flip a bit in the middle of the largest array of an archive."""
    with zipfile.ZipFile(archive) as members:
        largest = max(members.infolist(), key=lambda member: member.compress_size)
    content = bytearray(archive.read_bytes())
    content[largest.header_offset + 30 + len(largest.filename) + largest.compress_size // 2] ^= 1
    archive.write_bytes(content)


@pytest.mark.parametrize("harm", HARMS)
def test_no_survey_goes_on_from_a_damaged_checkpoint(place, runs, harm):
    checkpoint = place / "unfinished" / "checkpoint.npz"
    if harm == "middle byte flipped":  # of an array: between them are bytes that nobody reads
        flip_in_largest(checkpoint)
    else:
        HARMS[harm](checkpoint)
    words = ["layers", *runs[1], "--output_dir", str(place / "unfinished"), "--resume"]
    # The last byte of an archive is the length of a comment: the arrays are whole without it.
    if harm in ("gone", "last byte flipped"):
        attack(words, place=place, results=[place / "unfinished"], ok=True)
        assert backlight.load_results(place / "unfinished").metadata["num_tokens"] == 168
        return

    outcome = attack(words, place=place, results=[place / "unfinished" / ".written"])

    assert outcome.status == 2
    assert "checkpoint" in outcome.err or "swapped" in harm


@pytest.mark.parametrize("harm", ARRAY_HARMS)
def test_no_survey_goes_on_from_a_checkpoint_that_was_edited(place, runs, harm):
    harmed_arrays(place / "unfinished" / "checkpoint.npz", harm)

    words = ["layers", *runs[1], "--output_dir", str(place / "unfinished"), "--resume"]
    outcome = attack(words, place=place, results=[place / "unfinished" / ".written"])

    assert "is damaged, or was kept by another version of backlight (" in outcome.err


def test_no_survey_goes_on_from_the_checkpoint_of_another_run(place, runs):
    config = place / "unfinished" / "config.yaml"
    config.write_text(config.read_text().replace("started: '20", "started: '19"))

    words = ["layers", *runs[1], "--output_dir", str(place / "unfinished"), "--resume"]
    outcome = attack(words, place=place, results=[place / "unfinished" / ".written"])

    assert "it is that of another run" in outcome.err


NAMES = {
    "absolute": "{place}/victim/logo",
    "climbing": "../victim/logo",
    "climbing from a folder": "tables/../../victim/logo",
    "a link to a folder": "link/logo",
    "zero": "victim\0/logo",
    "an escape": "\x1b[2J",
    "backslashes": "..\\victim\\logo",
    "a drive": "C:logo",
    "a share": "//host/share/logo",
    "home": "~/logo",
    "too long": 300 * "x",
    "far too long": 50 * "folder/" + 700 * "x",
    "half a character": "\ud800",
    "the other direction": "\u202egnp",
    "nothing": "",
    "a point": ".",
    "an empty part": "a//b",
    "a number": 7,
    "a list": ["logo"],
    "a file of somebody": "notes",
}

# 7.png, ['logo'].png, .png and ..png are files of the run.
_PLAIN = ("a number", "a list", "nothing", "a point")


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_in_a_forged_run_is_written_nowhere_else(place, name):
    def change(run):
        found = json.loads((run / "metadata.json").read_text())
        asked = NAMES[name]
        asked = asked.format(place=place) if isinstance(asked, str) else asked
        found["plots"][0]["name"] = asked
        (run / "metadata.json").write_text(json.dumps(found))

    run = forged(place / "lab", change)
    (run / "link").symlink_to(place / "victim")
    (run / "notes.png").write_bytes(b"mine")
    before = {path: path.read_bytes() for path in (run / "notes.png", *place.glob("victim/*"))}

    outcome = attack(["report", str(run)], place=place, results=[run], ok=name in _PLAIN)

    assert {path: path.read_bytes() for path in before} == before
    assert sorted(place.iterdir()) == sorted(
        place / name for name in ("lab", "layers", "unfinished", "victim")
    )
    if name in ("absolute", "climbing", "backslashes", "zero"):
        assert "cannot be the name of a file" in outcome.err


@pytest.mark.parametrize(
    "name", ["mean_abs/../../../victim/logo", "mean_abs_\x1b[2J", "mean_abs_" + 999 * "x"]
)
def test_an_array_in_a_forged_run_is_drawn_nowhere_else(place, name):
    def change(run):
        with np.load(run / "consolidated_results.npz", allow_pickle=False) as found:
            arrays = dict(found)
        arrays |= {f"layer_{layer}_{name}": arrays[f"layer_{layer}_mean_abs"] for layer in (0, 2)}
        np.savez(run / "consolidated_results.npz", **arrays)

    run = forged(place / "layers", change)

    attack(["report", str(run)], place=place, results=[run])


def _table(text):
    return lambda run: (run / "tables" / "layers.csv").write_text(text)


def _metadata(**changes):
    def change(run):
        found = json.loads((run / "metadata.json").read_text())
        (run / "metadata.json").write_text(json.dumps({**found, **changes}))

    return change


FORGERIES = {
    "a table of nothing": ("layers", _table("layer\n")),
    "a table of words": ("layers", _table("layer,mean_abs [units],loss\na,b,c\n")),
    "a table with layers that are not there": ("layers", _table("layer,mean_abs [units]\n99,1\n")),
    "a table with a huge layer": ("layers", _table(f"layer,mean_abs [units]\n{10**30},1\n")),
    "a table with one heading twice": ("layers", _table("layer,layer\n0,1\n")),
    "a table without headings": ("layers", _table("\n\n\n")),
    "a table with an open quotation": ("layers", _table('layer,mean_abs\n0,"1\n')),
    "no tables": ("layers", lambda run: shutil.rmtree(run / "tables")),
    "no config": ("layers", lambda run: (run / "config.yaml").unlink()),
    "another command": (
        "layers",
        lambda run: (run / "config.yaml").write_text("provenance: {command: tokens}\n"),
    ),
    "a command of escapes": (
        "layers",
        lambda run: (run / "config.yaml").write_text('provenance: {command: "lab \\e[2J"}\n'),
    ),
    "options of other kinds": (
        "layers",
        lambda run: (run / "config.yaml").write_text(
            "provenance: {command: layers}\nmodel_name: [1]\nsite: {}\npower: many\n"
        ),
    ),
    "arrays of other sizes": (
        "layers",
        lambda run: np.savez(run / "consolidated_results.npz", layer_0_mean_abs=np.zeros((2, 3))),
    ),
    "no pictures": ("lab", _metadata(plots=None)),
    "pictures of other kinds": ("lab", _metadata(plots=[1, 2])),
    "a picture of no table": (
        "lab",
        _metadata(
            plots=[
                {
                    "name": "a",
                    "title": "a",
                    "columns": 1,
                    "panels": [{"table": "no", "x": "a", "y": "b"}],
                }
            ]
        ),
    ),
    "a picture with no panels": (
        "lab",
        _metadata(plots=[{"name": "a", "title": "a", "columns": 0, "panels": []}]),
    ),
    "a picture with unknown words": (
        "lab",
        _metadata(plots=[{"name": "a", "title": "a", "columns": 1, "panels": [{"colour": 1}]}]),
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_run_is_a_sentence(place, forgery):
    kind, change = FORGERIES[forgery]
    run = forged(place / kind, change)

    assert attack(["report", str(run)], place=place, results=[run]).status == 2


LOOKALIKES = {
    "a config of another tool": {"config.yaml": "learning_rate: 0.1\n"},
    "a copied config": {"config.yaml": "{config}"},
    "a copied config with a thesis": {"config.yaml": "{config}", "thesis.tex": "years"},
    "a config with a provenance": {"config.yaml": "provenance: {command: layers}\n"},
    "a manifest of another tool": {"config.yaml": "{config}", "manifest.json": '{"files": []}'},
    "a manifest that lists a thesis": {
        "config.yaml": "a: 1\n",
        "thesis.tex": "years",
        "manifest.json": '{"files": ["config.yaml", "thesis.tex"]}',
    },
    "a journal of another tool": {"config.yaml": "{config}", ".written": "config.yaml\n"},
    "a journal alone": {".written": "thesis.tex\n"},
    "a checkpoint of another tool": {"checkpoint.npz": "weights"},
    "half-written files of another tool": {".layers.csv.77.part": "half"},
    "an empty config": {"config.yaml": ""},
}


@pytest.mark.parametrize(
    ("lookalike", "asked"), list(product(LOOKALIKES, ([], ["--overwrite"], ["--resume"])))
)
def test_what_only_looks_like_a_run_is_neither_replaced_nor_resumed(place, runs, lookalike, asked):
    folder = place / "lookalike"
    folder.mkdir()
    config = (place / "layers" / "config.yaml").read_text()
    for name, content in LOOKALIKES[lookalike].items():
        (folder / name).write_text(config if content == "{config}" else content)

    words = ["layers", *runs[1], "--output_dir", str(folder), *asked]
    assert attack(words, place=place).status == 2


@pytest.mark.parametrize("name", ["metadata.json", "tables/layers.csv", "config.yaml", ".written"])
@pytest.mark.parametrize("harm", ["a link outside", "a folder", "a pipe", "a device"])
def test_nothing_is_replaced_through_what_is_no_file_any_more(place, runs, name, harm):
    run = place / ("unfinished" if name == ".written" else "layers")
    HARMS[harm](run / name)

    for asked in ("--overwrite", "--resume"):
        words = ["layers", *runs[1], "--output_dir", str(run), asked]
        assert attack(words, place=place).status == 2
