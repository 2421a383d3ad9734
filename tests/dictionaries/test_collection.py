"""Dictionaries are found in any layout, one for each layer, before any weight is read."""

import json
import shutil

import pytest
import torch

from backlight.dictionaries import search
from backlight.dictionaries.collection import find_dictionaries, read_dictionary
from backlight.errors import DictionaryError

CPU = torch.device("cpu")
BATCHTOPK = "dictionary_learning/batchtopk/trainer_0"
JUMPRELU = "saelens/jumprelu"
SPARSIFY = "sparsify/topk/layers.3.mlp"
GEMMA = "gemma_scope/gemma-scope-2b-pt-res/layer_3/width_16k/average_l0_71"


def load(collection, layer):
    return collection.load(layer, dtype=torch.float32, device=CPU)


def put(source, folder, layer=None):
    """Copy a dictionary, as that of another layer if one is named."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("expected.*"))
    for file in folder.glob("c*.json"):
        config = json.loads(file.read_text())
        if layer is not None and "trainer" in config:
            config["trainer"] |= {"layer": layer, "submodule_name": f"mlp_out_layer_{layer}"}
        elif layer is not None and "metadata" in config:
            config["metadata"]["hook_name"] = f"blocks.{layer}.hook_mlp_out"
        file.write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (BATCHTOPK, "mlp_out_layer_{}/trainer_0"),
        (BATCHTOPK, "._qwen_batch_top_k/mlp_out_layer_{}/trainer_0"),
        (JUMPRELU, "blocks.{}.hook_mlp_out"),
        (JUMPRELU, "run/without/any/number_{}"),
        (SPARSIFY, "layers.{}.mlp"),
        (SPARSIFY, "gpt_neox.layers.{}.mlp"),
        (GEMMA, "layer_{}/width_16k/average_l0_71"),
    ],
)
def test_a_folder_of_folders_is_read_by_layer(source, place, written, tmp_path):
    for layer in (10, 2, 0):
        put(written / source, tmp_path / place.format(layer), layer)

    collection = find_dictionaries(tmp_path)

    assert list(collection.cards) == [0, 2, 10]
    for layer, card in collection.cards.items():
        assert card.layer == layer
        assert load(collection, layer).card == card


@pytest.mark.parametrize("name", ["mlp_out_layer_{layer}/trainer_0", "mlp_out_layer_{layer}"])
def test_a_pattern_tells_the_layer(name, written, tmp_path):
    for layer in (1, 5):
        for kind in ("mlp_out", "resid_post"):
            put(written / BATCHTOPK, tmp_path / f"{kind}_layer_{layer}" / "trainer_0", layer)
    (tmp_path / "mlp_out_layer_x").mkdir()

    assert list(find_dictionaries(f"{tmp_path}/{name}").cards) == [1, 5]


def test_a_pattern_may_name_the_layer_twice(written, tmp_path):
    for first, second in ((1, 1), (1, 2), (3, 3)):
        put(written / GEMMA, tmp_path / f"layer_{first}" / f"sae_{second}")

    collection = find_dictionaries(f"{tmp_path}/layer_{{layer}}/sae_{{layer}}")

    assert list(collection.cards) == [1, 3]


@pytest.mark.parametrize("file", ["", "ae.pt", "checkpoints/ae_10.pt"])
def test_one_dictionary_is_named_by_its_folder_or_its_file(file, written):
    place = written / "dictionary_learning" / "trained" / "trainer_0"

    collection = find_dictionaries(place / file)

    assert list(collection.cards) == [3]
    assert load(collection, 3).card.reads == "model.layers.3.mlp"


def test_checkpoints_of_a_finished_dictionary_do_not_count(written):
    collection = find_dictionaries(written / "dictionary_learning" / "trained")

    assert not collection.cards[3].path.endswith(".pt")


def test_finding_reads_no_weights(written, tmp_path):
    folder = put(written / JUMPRELU, tmp_path / "layer_3")
    (folder / "sae_weights.safetensors").write_bytes(b"nothing")

    collection = find_dictionaries(tmp_path)

    with pytest.raises(DictionaryError, match="is damaged"):
        load(collection, 3)


def test_two_dictionaries_for_a_layer_are_listed(written, tmp_path):
    for name in ("average_l0_20", "average_l0_71"):
        put(written / GEMMA, tmp_path / "layer_3" / "width_16k" / name)

    message = r"holds 2 dictionaries for layer 3: .*average_l0_20.*, .*average_l0_71.*; name one"
    with pytest.raises(DictionaryError, match=message):
        find_dictionaries(tmp_path)


def test_two_formats_in_one_folder_are_listed(written, tmp_path):
    put(written / JUMPRELU, tmp_path / "layer_3")
    shutil.copy(written / SPARSIFY / "sae.safetensors", tmp_path / "layer_3")

    with pytest.raises(DictionaryError, match=r"sae.safetensors, .*sae_weights.safetensors; name"):
        read_dictionary(tmp_path, dtype=torch.float32, device=CPU)


def test_a_folder_of_another_layer_than_its_files_is_refused(written, tmp_path):
    put(written / JUMPRELU, tmp_path / "layer_4")

    with pytest.raises(DictionaryError, match=r"folder of layer 4, but its own files say layer 3"):
        find_dictionaries(tmp_path)


def test_a_pattern_of_another_layer_than_the_files_is_refused(written, tmp_path):
    put(written / JUMPRELU, tmp_path / "number_4")

    with pytest.raises(DictionaryError, match=r"folder of layer 4, but its own files say layer 3"):
        find_dictionaries(f"{tmp_path}/number_{{layer}}")


def test_a_dictionary_without_a_layer_is_refused_but_can_be_read_alone(written, tmp_path):
    folder = put(written / GEMMA, tmp_path / "mine" / "own" / "dictionary")

    with pytest.raises(DictionaryError, match="Nothing says to which layer"):
        find_dictionaries(folder)
    assert read_dictionary(folder, dtype=torch.float32, device=CPU).num_features == 24


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("layer_3", 3),
        ("layer3", 3),
        ("transformer.h.11.attn", 11),
        ("model-layer-7-mlp", 7),
        ("block_2", 2),
        ("24_layers_3b", None),
        ("player_3", None),
        ("h3", None),
        ("width_16k", None),
    ],
)
def test_a_layer_is_a_word_of_its_own_in_a_folder_name(name, layer, written, tmp_path):
    put(written / GEMMA, tmp_path / "a" / "b" / "c" / name)

    (candidate,) = search.search(str(tmp_path))

    assert candidate.layer == layer


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nowhere/at/all", "There is no folder '/nowhere/at/all': name one that holds"),
        ("nowhere", r"There is no folder 'nowhere': .*, or smollm2\."),
        ("../a/b", "There is no folder"),
        ("/nowhere/layer_{layer}", "There is no folder '/nowhere/layer_{layer}'"),
    ],
)
def test_a_place_that_is_not_there_is_refused(path, message):
    with pytest.raises(DictionaryError, match=message):
        find_dictionaries(path)


def test_a_folder_without_dictionaries_is_refused(written, tmp_path):
    shutil.copy(written / JUMPRELU / "cfg.json", tmp_path)

    with pytest.raises(
        DictionaryError,
        match=r"no dictionary in .* that holds sae_weights.* of another form is handed over",
    ):
        find_dictionaries(tmp_path)


def test_a_pattern_that_fits_nothing_is_refused(written, tmp_path):
    put(written / JUMPRELU, tmp_path / "layer_3")

    with pytest.raises(DictionaryError, match=r"There is no dictionary in '.*/blocks.{layer}'"):
        find_dictionaries(f"{tmp_path}/blocks.{{layer}}")


def test_a_layer_that_is_not_there_is_refused(written):
    collection = find_dictionaries(written / JUMPRELU)

    with pytest.raises(DictionaryError, match="There is no dictionary for layer 5, only for 3"):
        load(collection, 5)


def test_what_is_shipped_is_found_by_its_name(written, tmp_path, monkeypatch):
    put(written / JUMPRELU, tmp_path / "shipped" / "layer_3")
    monkeypatch.setattr(search, "files", lambda package: tmp_path)
    monkeypatch.setattr(search, "_SHIPPED", {"smollm2": "shipped"})

    assert list(find_dictionaries("smollm2").cards) == [3]


def test_what_should_be_shipped_and_is_not_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "files", lambda package: tmp_path)

    with pytest.raises(DictionaryError, match="comes without the dictionaries of smollm2"):
        find_dictionaries("smollm2")
