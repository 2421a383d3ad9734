"""Dictionaries of dictionary_learning: the same numbers as its ``load_dictionary``."""

import json

import pytest
import torch
from torch.testing import assert_close

from backlight.dictionaries.activations import Relu, Threshold
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
from backlight.dictionaries.formats import dictionary_learning
from backlight.errors import DictionaryError

NAMES = [
    "standard",
    "standard_new",
    "gated",
    "jumprelu",
    "topk",
    "batchtopk",
    "batchtopk_without_threshold",
    "matryoshka",
    "trained",
    "backup",
]


def place(folder):
    return folder / "trainer_0" / "ae.pt"


def change(folder, **trainer):
    file = folder / "trainer_0" / "config.json"
    config = json.loads(file.read_text())
    config["trainer"] |= trainer
    file.write_text(json.dumps(config))


def change_tensors(folder, edit):
    state = torch.load(place(folder))
    edit(state)
    torch.save(state, place(folder))


def card_of(folder):
    return dictionary_learning.DictionaryLearning().card(place(folder))


@pytest.mark.parametrize("name", NAMES)
def test_dictionary_learning_computes_the_same(name, written, assert_same_as_library):
    assert_same_as_library(written / "dictionary_learning" / name / "trainer_0")


def test_a_checkpoint_is_read_by_its_own_name(written, assert_same_as_library):
    folder = written / "dictionary_learning" / "trained" / "trainer_0" / "checkpoints"

    dictionary = assert_same_as_library(folder, folder / "ae_10.pt")

    assert dictionary.card.path.endswith("ae_10.pt")


def test_the_decoder_of_an_autoencoder_is_normalised_as_when_its_library_loads_it(written, read):
    dictionary = read(written / "dictionary_learning" / "standard")

    assert_close(dictionary.rows.norm(dim=1), torch.ones(24))


def test_matrices_are_rows_in_one_piece(written, read):
    for name in ("batchtopk", "matryoshka"):
        dictionary = read(written / "dictionary_learning" / name)
        for rows in (dictionary.rows, dictionary.encoder.rows):
            assert rows.shape == (24, 8)
            assert rows.is_contiguous()


@pytest.mark.parametrize(
    ("name", "io", "reads", "writes"),
    [
        ("mlp_out_layer_3", "out", "layers.3.mlp.out", "layers.3.mlp.out"),
        ("mlp_out_layer_3", None, "layers.3.mlp.out", "layers.3.mlp.out"),
        ("mlp_out_layer_3", "in", None, None),
        ("resid_post_layer_3", "out", "layers.3.resid.post", "layers.3.resid.post"),
        ("attn_out_layer_3", "out", "layers.3.attn.out", "layers.3.attn.out"),
        ("model.layers[3].mlp", "out", "model.layers.3.mlp", "model.layers.3.mlp"),
        (".gpt_neox.layers.3.mlp", "out", "gpt_neox.layers.3.mlp", "gpt_neox.layers.3.mlp"),
        ("model.layers.3.mlp", "in", "layers.3.mlp.in", "layers.3.mlp.in"),
        ("model.layers.3.mlp", "in_and_out", "layers.3.mlp.in", "model.layers.3.mlp"),
        ("model.layers.3", "in", "layers.3.resid.pre", "layers.3.resid.pre"),
        ("model.layers.3.mlp", None, None, None),
        ("model.layers.3.mlp.act", "in", None, None),
        ("mlp_layer_3", "out", None, None),
        (None, "out", None, None),
    ],
)
def test_a_site_is_read_from_the_settings_or_not_at_all(name, io, reads, writes, copied):
    folder = copied("dictionary_learning/batchtopk")
    change(folder, submodule_name=name)
    file = folder / "trainer_0" / "config.json"
    config = json.loads(file.read_text())
    config["buffer"] = {} if io is None else {"io": io}
    file.write_text(json.dumps(config))

    card = card_of(folder)

    assert (card.reads, card.writes, card.layer) == (reads, writes, 3)
    assert card.model == "EleutherAI/pythia-70m-deduped"


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"dict_class": "CrossCoder"}, r"trainer.dict_class in .* it knows AutoEncoder, "),
        ({"dict_class": None}, r"trainer.dict_class in .* is missing"),
        ({"dict_size": 25}, r"'decoder.weight' .* is \[8, 24\], but must be \[8, 25\]"),
        ({"activation_dim": 24, "dict_size": 8}, r"'decoder.weight' .* it is transposed"),
        ({"layer": 4}, r"says layer 4 and a submodule of layer 3"),
        ({"dict_class": "JumpReluAutoEncoder"}, r"There is no tensor 'W_dec' in .*, only 'b_dec'"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(trainer, message, copied, read):
    folder = copied("dictionary_learning/batchtopk")
    change(folder, **trainer)

    with pytest.raises(DictionaryError, match=message):
        read(folder)


def test_a_k_of_another_dictionary_is_refused(copied, read):
    folder = copied("dictionary_learning/topk")
    change(folder, k=6)

    with pytest.raises(DictionaryError, match=r"says k is 6, .* says 5"):
        read(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: state.pop("b_dec"), r"There is no tensor 'b_dec'"),
        (lambda state: state["encoder.bias"][3].fill_(torch.nan), r"'encoder.bias' .* holds NaN"),
        (lambda state: state.update(b_dec=[0.0]), r"'b_dec' in .* is list, not a tensor"),
        (
            lambda state: state.update(threshold=torch.ones(24)),
            r"is \[24\], but must be one number",
        ),
        (lambda state: state.update(b_dec=torch.ones(8).int()), r"'b_dec' .* holds int32 numbers"),
    ],
    ids=["missing", "nan", "list", "thresholds", "integers"],
)
def test_tensors_that_cannot_be_right_are_refused(edit, message, copied, read):
    folder = copied("dictionary_learning/batchtopk")
    change_tensors(folder, edit)

    with pytest.raises(DictionaryError, match=message):
        read(folder)


def test_parameters_are_read_as_numbers_without_a_graph(copied, read):
    folder = copied("dictionary_learning/batchtopk")
    change_tensors(folder, lambda state: state.update(b_dec=torch.nn.Parameter(state["b_dec"])))

    assert not read(folder).bias.requires_grad


def test_a_file_of_before_zip_archives_is_read(copied, read):
    folder = copied("dictionary_learning/batchtopk")
    state = torch.load(place(folder))
    before = read(folder).rows
    torch.save(state, place(folder), _use_new_zipfile_serialization=False)

    assert torch.equal(read(folder).rows, before)


def test_a_backup_that_nobody_writes_is_refused(copied, read):
    folder = copied("dictionary_learning/backup")
    change_tensors(folder, lambda state: state.update(norm_factor="large"))

    with pytest.raises(DictionaryError, match="is no backup that dictionary_learning would write"):
        read(folder)


def trained(threshold=0.5, input_bias="same", **others):
    bias = torch.randn(8)
    biases = {"same": bias, "none": None, "other": torch.randn(8)}
    return Dictionary(
        encoder=LinearEncoder(
            rows=torch.randn(24, 8),
            bias=torch.randn(24),
            input_bias=biases[input_bias],
            activation=Relu()
            if threshold is None
            else Threshold(threshold=torch.as_tensor(threshold).expand(24)),
        ),
        rows=torch.nn.functional.normalize(torch.randn(24, 8), dim=1),
        bias=bias,
        card=Card(format="backlight", path="", architecture="batchtopk"),
        **others,
    )


def write(dictionary, folder, **others):
    words = {"model_name": "gpt2", "layer": 2, "submodule_name": "mlp_out_layer_2", "k": 5}
    return dictionary_learning.write(dictionary, folder, **words, **others)


@pytest.mark.parametrize("input_bias", ["same", "none", "other"])
def test_what_is_written_is_read_back(input_bias, tmp_path, read):
    dictionary = trained(input_bias=input_bias)

    folder = write(dictionary, tmp_path, notes={"tokens": 7})

    found, x = read(folder), torch.randn(40, 8)
    codes = dictionary.encode(x)
    assert_close(found.encode(x).dense(), codes.dense(), atol=1e-5, rtol=1e-4)
    assert_close(found.decode(codes, x), dictionary.decode(codes, x))
    assert (found.card.reads, found.card.layer) == ("layers.2.mlp.out", 2)
    assert json.loads((folder / "config.json").read_text())["trainer"]["tokens"] == 7
    assert {file.stat().st_mode for file in folder.iterdir()} == {
        (folder / "config.json").stat().st_mode
    }


def test_a_smaller_number_format_keeps_threshold_and_k(tmp_path):
    folder = write(trained(), tmp_path, dtype=torch.float16)

    state = torch.load(folder / "ae.pt")
    assert state["encoder.weight"].dtype == torch.float16
    assert (state["threshold"].dtype, state["threshold"].item()) == (torch.float32, 0.5)
    assert (state["k"].dtype, state["k"].item()) == (torch.int32, 5)


@pytest.mark.parametrize(
    "dictionary",
    [
        trained(threshold=torch.arange(24.0)),
        trained(threshold=None),
        trained(skip=torch.ones(8, 8)),
        trained(normalization="layer_norm"),
    ],
    ids=["thresholds", "relu", "skip", "normalized"],
)
def test_what_the_class_could_not_hold_is_not_written(dictionary, tmp_path):
    with pytest.raises(DictionaryError, match="BatchTopKSAE holds an autoencoder with one"):
        write(dictionary, tmp_path)

    assert not list(tmp_path.iterdir())
