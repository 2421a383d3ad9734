"""What `backlight train-sae` learns, writes, prints and refuses."""

import json
from pathlib import Path

import pytest
import torch

from backlight import cli
from backlight.capture.record import record_activations
from backlight.data.batches import Batch, Passages
from backlight.data.corpora import RowReader
from backlight.dictionaries.formats.dictionary_learning import DictionaryLearning
from backlight.dictionaries.formats.saelens import SAELens
from backlight.errors import (
    ConfigError,
    DatasetError,
    NonFiniteError,
    RunDirectoryError,
    StorageError,
    UnknownLayerError,
    UnsupportedSiteError,
)
from backlight.models.loading import load_subject
from backlight.tools.train_sae import files
from backlight.tools.train_sae.command import train_sae
from backlight.tools.train_sae.options import TrainSaeConfig
from backlight.tools.train_sae.place import scratch_of
from zoo.folders import contents, lines, save_causal

READ = {"dtype": torch.float32, "device": torch.device("cpu")}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "rows.txt"
    path.write_text("\n".join(lines(120)), encoding="utf-8")
    return path


@pytest.fixture
def recipe(model_folder, text, tmp_path, monkeypatch):
    """Options of a training of a second."""
    monkeypatch.chdir(tmp_path)
    return {
        "model_name": str(model_folder),
        "dataset": str(text),
        "device": "cpu",
        "layer": 1,
        "num_features": 48,
        "num_tokens": 1500,
        "k": 6,
        "epochs": 4,
        "max_length": 20,
        "tokens_per_step": 64,
        "output_dir": tmp_path / "sae",
    }


def words_of(options):
    return ["train-sae", *(f"--{name}={value}" for name, value in options.items())]


def held_out_activations(options, num_tokens, site="layers.1.mlp.out"):
    """The site's tensor at the last tokens of the corpus, passage by passage."""
    subject = load_subject(options["model_name"], device="cpu")
    rows = RowReader(options["dataset"]).first(1000)
    passages, total = [], 0
    for row in rows:
        ids = subject.tokenizer(row, truncation=True, max_length=20)["input_ids"]
        passages.append(torch.tensor(ids).numpy())
        total += len(ids)
        if total >= options["num_tokens"]:
            break
    values, first, taken = [], [], 0
    while taken < num_tokens:
        corpus = Passages(tokens=[passages.pop()])
        tape = record_activations(subject, Batch.of(corpus, [0]), [subject.sites[site]])
        values.append(tape.activations[site][0])
        first += [True] + [False] * (len(values[-1]) - 1)
        taken += len(values[-1])
    return torch.cat(values).double(), torch.tensor(first)


def test_what_it_says_of_its_quality_is_true_of_the_files(recipe):
    trained = train_sae(**recipe, save_dtype="float16")

    corpus = trained.origin["corpus"]
    x, first = held_out_activations(recipe, corpus["num_held_out_tokens"])
    for read, file in (
        (SAELens(), trained.saelens / "sae_weights.safetensors"),
        (DictionaryLearning(), trained.dictionary_learning / "ae.pt"),
    ):
        dictionary = read.read(file, **READ)
        codes = dictionary.encode(x.float())
        output = dictionary.decode(codes, x.float()).double()
        rest = ~first
        around = (x[rest] - x[rest].mean(dim=0)).square().sum()
        explained = 1 - (x - output)[rest].square().sum() / around
        assert trained.quality.num_tokens == rest.sum()
        assert trained.quality.explained_variance == pytest.approx(explained.item(), rel=1e-4)
        fired = codes.dense()[rest] != 0
        assert trained.quality.l0 == pytest.approx(fired.sum(dim=1).double().mean().item())
        assert dictionary.card.layer == 1
        assert torch.equal(dictionary.rows, trained.dictionary.rows)


def test_it_learns(recipe):
    trained = train_sae(**recipe)

    assert trained.quality.explained_variance > 0.6
    assert trained.quality.l0 == pytest.approx(6, rel=0.3)
    curve = trained.curve
    assert curve["explained_variance"][-1] > curve["explained_variance"][0] + 0.2
    assert curve["tokens"][-1] == 64 * 4 * ((1500 * 0.95 - 80) // 64)
    assert set(trained.seconds) == {"loading", "activations", "training", "measuring"}


def test_a_directory_holds_both_formats_a_card_and_the_story(recipe):
    trained = train_sae(**recipe)

    story = json.loads((recipe["output_dir"] / "training.json").read_text())
    assert set(contents(recipe["output_dir"])) == set(story["files"])
    assert set(story["files"]) == {
        "README.md",
        "curve.csv",
        "training.json",
        "saelens/layer_1/cfg.json",
        "saelens/layer_1/sae_weights.safetensors",
        "dictionary_learning/mlp_out_layer_1/trainer_0/ae.pt",
        "dictionary_learning/mlp_out_layer_1/trainer_0/config.json",
    }
    assert story["quality"]["explained_variance"] == trained.quality.explained_variance
    assert story["loss"]["clean"] > 0
    assert story["options"]["layer"] == 1
    card = (recipe["output_dir"] / "README.md").read_text()
    assert f"| explained variance | {trained.quality.explained_variance:.3f} |" in card
    assert story["command"] in card
    assert "--num_features 48" in story["command"]


def test_the_same_seed_gives_the_same_files_and_another_seed_others(recipe):
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        trained = train_sae(**{**recipe, "seed": seed, "output_dir": name})
        weights.append((trained.saelens / "sae_weights.safetensors").read_bytes())

    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


@pytest.mark.parametrize("site", ["resid.post", "attn.z", "mlp.in"])
def test_other_sites_have_dictionaries_too(recipe, site):
    trained = train_sae(**recipe, site=site)

    assert trained.site.name == f"layers.1.{site}"
    assert trained.quality.explained_variance > 0.3
    assert trained.label == f"{site.replace('.', '_')}_layer_1"


def test_a_site_may_be_written_as_a_module_of_any_model(recipe, tmp_path):
    del recipe["output_dir"]

    trained = train_sae(**recipe, site="model.layers.*.mlp")

    assert trained.path.name.endswith("_model_layers_mlp_layer_1")
    assert trained.site.name == "layers.1.mlp.out"
    assert trained.dictionary_learning.is_dir()


def test_a_perfect_reconstruction_would_recover_all_of_the_loss(recipe):
    recovery = train_sae(**recipe).recovery

    assert recovery.clean > 0
    share = (recovery.zeroed - recovery.spliced) / (recovery.zeroed - recovery.clean)
    assert recovery.share == pytest.approx(share)


def test_the_command_prints_the_numbers_and_how_to_go_on(recipe, capsys):
    assert cli.main(words_of(recipe)) == 0

    printed = capsys.readouterr().out
    assert "explained variance" in printed
    assert "loss recovered" in printed
    assert "--sae_path sae/saelens/layer_1\n" in printed  # as seen from the folder at hand


def test_it_has_a_name_of_its_own_if_no_directory_is_named(recipe, tmp_path):
    del recipe["output_dir"]

    trained = train_sae(**recipe)

    model = recipe["model_name"].strip("/").replace("/", "_")
    assert (tmp_path / trained.path).is_dir()
    assert str(trained.path) == f"runs/sae_{model}_mlp_out_layer_1"


def test_a_dictionary_is_replaced_only_if_asked(recipe):
    first = train_sae(**recipe)
    kept = contents(first.path)

    with pytest.raises(RunDirectoryError, match=r"already holds a dictionary. Give --overwrite"):
        train_sae(**recipe)
    assert contents(first.path) == kept

    train_sae(**recipe, seed=1, overwrite=True)
    assert contents(first.path) != kept
    assert [path.name for path in first.path.parent.iterdir()] == ["sae"]


def test_files_of_somebody_else_are_never_deleted(recipe):
    path = train_sae(**recipe).path
    (path / "thesis.txt").write_text("years of work")

    with pytest.raises(RunDirectoryError, match=r"not written by train-sae, such as 'thesis.txt'"):
        train_sae(**recipe, overwrite=True)
    assert (path / "thesis.txt").is_file()


def test_a_training_that_fails_leaves_nothing(recipe, tmp_path):
    with pytest.raises(NonFiniteError, match=r"Lower --learning_rate"):
        train_sae(**recipe, learning_rate=1e30)

    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_leaves_what_was_there(recipe, monkeypatch):
    path = train_sae(**recipe).path
    kept = contents(path)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "card_of", full)
    with pytest.raises(StorageError, match=r"cannot be written: No space left"):
        train_sae(**recipe, overwrite=True)

    assert contents(path) == kept
    assert [each.name for each in path.parent.iterdir()] == ["sae"]


def test_a_dictionary_that_cannot_take_its_place_leaves_the_old_one(recipe, monkeypatch):
    path = train_sae(**recipe).path
    kept, rename = contents(path), Path.rename

    def stuck(self, target):
        if self.suffix == ".part":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stuck)
    with pytest.raises(StorageError, match=r"cannot be written: Input/output error"):
        train_sae(**recipe, overwrite=True)

    assert contents(path) == kept
    assert [each.name for each in path.parent.iterdir()] == ["sae"]


def test_activations_that_are_not_finite_are_named(recipe, tmp_path):
    folder = save_causal(tmp_path / "nan", nan_in="model.layers.2.mlp.down_proj.weight")
    options = {**recipe, "model_name": str(folder), "layer": 2}

    with pytest.raises(NonFiniteError, match=r"layers.2.mlp.out are not finite in one of"):
        train_sae(**options)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"layer": None}, ConfigError, r"Say which layer .* --layer 15"),
        ({"layer": 3}, UnknownLayerError, r"3"),
        ({"k": 49}, ConfigError, r"--k 49 is more than there are features \(48\)"),
        ({"num_tokens": 10**6}, DatasetError, r"has \d+ tokens .* Lower --num_tokens"),
        ({"tokens_per_step": 2000}, ConfigError, r"not enough for a step of 2000"),
        ({"site": "attn.q"}, UnsupportedSiteError, r"attn.q cannot be replaced"),
        ({"site": "logits"}, UnsupportedSiteError, r"belongs to no layer"),
        ({"dataset": "none.txt"}, DatasetError, r"There is no file 'none.txt'"),
        ({"num_sample": 3}, ConfigError, r"num_sample: no such option"),
        ({"held_out": 1.0}, ConfigError, r"held_out"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    recipe, tmp_path, changed, error, message
):
    with pytest.raises(error, match=message):
        train_sae(**{**recipe, **changed})

    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_loaded_needs_no_name(recipe):
    subject = load_subject(recipe.pop("model_name"), device="cpu")
    del recipe["device"]

    assert train_sae(subject=subject, **recipe).quality.l0 > 0
    with pytest.raises(ConfigError, match=r"A subject is given, so model_name"):
        train_sae(subject=subject, model_name="other", **recipe)


def test_a_mistake_on_the_command_line_is_told_in_a_line(capsys):
    assert cli.main(["train-sae", "--layer", "-1"]) == 2

    assert "layer" in capsys.readouterr().err
    assert TrainSaeConfig().layer is None


def test_the_same_training_writes_the_same_bytes(recipe, tmp_path):
    first = contents(train_sae(**recipe).path)
    again = contents(train_sae(**{**recipe, "output_dir": tmp_path / "other"}).path)

    for name in first:
        if name != "training.json":  # has times
            assert first[name] == again[name], name


def test_a_dictionary_that_was_about_to_be_replaced_comes_back(recipe, capsys):
    path = train_sae(**recipe).path
    kept = contents(path)
    old = scratch_of(path).with_suffix(".old")
    path.rename(old)  # as a kill between two renames leaves it
    scratch_of(path).mkdir()

    with pytest.raises(RunDirectoryError, match=r"already holds a dictionary"):
        train_sae(**recipe)

    assert contents(path) == kept
    assert [each.name for each in path.parent.iterdir()] == ["sae"]


def test_a_file_of_a_dictionary_that_somebody_has_edited_is_not_replaced(recipe):
    path = train_sae(**recipe).path
    (path / "README.md").write_text("My notes")

    with pytest.raises(RunDirectoryError, match=r"not written by train-sae, such as 'README\.md "):
        train_sae(**recipe, overwrite=True)


@pytest.mark.parametrize("name", ["link", "folder", "saelens/link"])
def test_whatever_else_is_in_a_dictionary_stays(recipe, tmp_path, name):
    path = train_sae(**recipe).path
    if name == "folder":
        (path / name).mkdir()
    else:
        (path / name).symlink_to(tmp_path)

    with pytest.raises(RunDirectoryError, match=rf"not written by train-sae, such as '{name}'"):
        train_sae(**recipe, overwrite=True)
