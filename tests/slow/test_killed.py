"""Commands that are killed (kill -9) before each of their file operations, one after the other."""

import json
import shutil

import numpy as np
import pytest
import yaml

from backlight.atomic import is_scratch
from backlight.dictionaries.formats.dictionary_learning import DictionaryLearning
from backlight.runs.results import load_results
from backlight.tables import Table
from zoo.cities import make_cities
from zoo.folders import contents, lines, numbers, save_causal
from zoo.killing import forge

pytestmark = pytest.mark.slow

THEIRS = {
    "out/notes.txt": "mine",
    "out/.film.part": "mine",
    "out/tables/.layers.csv.77.part": "mine",
    "sae.part": "mine",
    ".sae.77.part": "mine",
}


@pytest.fixture(scope="module")
def running():
    with forge() as process:
        yield process


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A tiny model and six rows of text."""
    root = tmp_path_factory.mktemp("material")
    save_causal(root / "model")
    (root / "rows.txt").write_text("\n".join(lines(6)), encoding="utf-8")
    return root


@pytest.fixture
def layers(material):
    return [
        *("layers", "--model_name", material / "model", "--dataset", material / "rows.txt"),
        *("--device", "cpu", "--batch_size", "3", "--max_length", "12", "--layers", "0"),
        *("--output_dir", "out"),
    ]


@pytest.fixture
def train_sae(material):
    return [
        *("train-sae", "--model_name", material / "model", "--dataset", material / "rows.txt"),
        *("--device", "cpu", "--layer", "1", "--num_features", "16", "--num_tokens", "60"),
        *("--k", "2", "--epochs", "1", "--max_length", "12", "--tokens_per_step", "16"),
        *("--output_dir", "sae"),
    ]


@pytest.fixture
def train_world(tmp_path_factory):
    path = tmp_path_factory.mktemp("cities") / "cities.csv"
    points = np.random.default_rng(5).integers((-1800, -900), (1800, 900), size=(60, 2))
    from backlight.world.cities import write_cities

    write_cities(make_cities(points.tolist()), path)
    return [
        *("train-world", "--cities_csv", path, "--num_steps", "3", "--rows_per_step", "4"),
        *("--questions_per_city", "2", "--first_cities", "20", "--num_held_out", "4"),
        *("--evaluate_every", "2", "--checkpoint_every", "2", "--hidden_size", "16"),
        *("--num_layers", "1", "--num_heads", "2", "--output_dir", "out"),
    ]


def plant(place, names):
    """Put files of somebody else where they are in the way."""
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(THEIRS[name])


def refuse_half_written(place):
    """Read every file under a final name."""
    for path in place.rglob("*"):
        if path.is_dir() or is_scratch(path.name) or str(path.relative_to(place)) in THEIRS:
            continue
        if any(part.startswith(".sae-") for part in path.relative_to(place).parts):
            continue  # a directory that has not taken its name yet
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[name] is not None for name in arrays)
        elif path.suffix == ".npy":
            np.load(path, allow_pickle=False)
        elif path.suffix == ".csv":
            Table.from_csv(path.stem, path.read_text())
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".yaml":
            yaml.safe_load(path.read_text())
        else:
            assert path.stat().st_size > 0, path
    if (place / "out" / "manifest.json").exists() and (place / "out/metadata.json").exists():
        load_results(place / "out")


def go_on(running, place, words, n):
    """Go on after a kill: plainly if that is not refused in a sentence, else in either way."""
    done = running.run(words, folder=place)
    if done.status == 2:
        assert done.said.count("backlight: ") == 1, done.said
        assert "already holds a run" in done.said, done.said
        resuming = n % 2 and not (place / "out" / "manifest.json").exists()
        done = running.run([*words, "--resume" if resuming else "--overwrite"], folder=place)
    assert done.status == 0, done.said


def check_whole(place, whole, planted):
    assert numbers(place / "out") == whole
    assert {name: (place / name).read_text() for name in planted} == {
        name: THEIRS[name] for name in planted
    }
    ours = [path for path in place.rglob("*.part") if is_scratch(path.name)]
    assert not ours, ours
    if (place / "out" / ".written").exists():  # killed when all was done but this
        assert load_results(place / "out").metadata


def each_kill(running, tmp_path, words, prepare, *, step=1):
    """Kill a command before each of its file operations, in a fresh place each time.

    Yields:
        The number of the operation and the place as it was left; the last time it came to its end.
    """
    n = 1
    while True:
        place = tmp_path / "place"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        prepare(place)
        ended = running.run(words, folder=place, kill_before=n)
        assert ended.status in (None, 0), ended.said
        yield n, place
        if ended.status == 0:
            break
        n += step
    assert n > 10, "nothing was killed"


@pytest.fixture
def whole(running, layers, tmp_path):
    """What a run finds that nobody kills."""
    (tmp_path / "whole").mkdir()
    ended = running.run(layers, folder=tmp_path / "whole")
    assert ended.status == 0, ended.said
    return tmp_path / "whole" / "out"


def test_a_first_run_may_be_killed_anywhere(running, layers, tmp_path, whole):
    for n, place in each_kill(running, tmp_path, layers, lambda place: plant(place, ["sae.part"])):
        refuse_half_written(place)
        if not (place / "out" / "manifest.json").exists():
            go_on(running, place, layers, n)
            check_whole(place, numbers(whole), ["sae.part"])


def test_an_overwriting_run_may_be_killed_anywhere(running, layers, tmp_path, whole):
    planted = [name for name in THEIRS if name.startswith("out/")]

    def prepare(place):
        shutil.copytree(whole, place / "out")
        plant(place, planted)

    words = [*layers, "--overwrite"]
    for n, place in each_kill(running, tmp_path, words, prepare):
        refuse_half_written(place)
        go_on(running, place, layers, n)
        check_whole(place, numbers(whole), planted)


def test_a_report_may_be_killed_anywhere(running, tmp_path, whole):
    before = contents(whole)
    for _, place in each_kill(
        running,
        tmp_path,
        ["report", "out"],
        lambda place: shutil.copytree(whole, place / "out"),
    ):
        refuse_half_written(place)
        assert running.run(["report", "out"], folder=place).status == 0
        assert contents(place / "out") == before


def test_the_first_training_of_a_dictionary_may_be_killed_anywhere(running, train_sae, tmp_path):
    planted = ["sae.part", ".sae.77.part"]
    for _, place in each_kill(running, tmp_path, train_sae, lambda place: plant(place, planted)):
        refuse_half_written(place)
        whole = (place / "sae").exists()
        done = running.run(train_sae, folder=place)
        assert (done.status == 2 and "already holds a dictionary" in done.said) == whole
        assert done.status == 0 or whole, done.said
        check_dictionary(place, planted)


def test_the_replacing_of_a_dictionary_may_be_killed_anywhere(running, train_sae, tmp_path):
    assert running.run(train_sae, folder=tmp_path).status == 0
    planted = ["sae.part", ".sae.77.part"]
    weights = contents(tmp_path / "sae")["dictionary_learning/mlp_out_layer_1/trainer_0/ae.pt"]

    def prepare(place):
        shutil.copytree(tmp_path / "sae", place / "sae")
        plant(place, planted)

    words = [*train_sae, "--overwrite"]
    for n, place in each_kill(running, tmp_path, words, prepare):
        refuse_half_written(place)
        done = running.run(train_sae, folder=place)  # the old one, or the new one, is there
        assert done.status == 2, done.said
        assert "already holds a dictionary" in done.said
        check_dictionary(place, planted)
        if n % 3 == 0:
            assert running.run(words, folder=place).status == 0
            check_dictionary(place, planted)
        found = contents(place / "sae")
        assert found["dictionary_learning/mlp_out_layer_1/trainer_0/ae.pt"] == weights


def check_dictionary(place, planted):
    (file,) = (place / "sae").rglob("ae.pt")
    DictionaryLearning().card(file)
    left = {path.name for path in place.iterdir()}
    assert left == {"sae", *planted}
    assert all((place / name).read_text() == THEIRS[name] for name in planted)


def test_a_training_of_a_world_may_be_killed_anywhere(running, train_world, tmp_path):
    (tmp_path / "whole").mkdir()
    ended = running.run(train_world, folder=tmp_path / "whole")
    assert ended.status == 0, ended.said
    whole = contents(tmp_path / "whole" / "out")
    for n, place in each_kill(running, tmp_path, train_world, lambda place: None, step=3):
        refuse_half_written(place)
        go_on(running, place, train_world, n)
        found = contents(place / "out")
        for name in ("final/model.safetensors", "tables/metrics.csv", "README.md"):
            assert found[name] == whole[name]
        assert set(found) - {".written", "checkpoint.npz"} == set(whole)
