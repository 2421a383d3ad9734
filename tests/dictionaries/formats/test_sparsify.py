"""Dictionaries of sparsify: the same numbers as there, at the module its folder names."""

import json

import pytest

from backlight.dictionaries.formats.sparsify import Sparsify
from backlight.errors import DictionaryError

NAMES = ["topk", "topk_by_factor", "groupmax", "transcoder", "skip_transcoder"]


def change(folder, **words):
    file = folder / "layers.3.mlp" / "cfg.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | words))


@pytest.mark.parametrize("name", NAMES)
def test_sparsify_computes_the_same(name, written, assert_same_as_library):
    assert_same_as_library(written / "sparsify" / name / "layers.3.mlp")


def test_an_autoencoder_may_have_a_linear_path_too(written, assert_same_as_library):
    assert_same_as_library(written / "sparsify" / "skip" / "h.2")


@pytest.mark.parametrize(
    ("folder", "transcode", "reads", "writes", "layer"),
    [
        ("layers.3.mlp", False, "layers.3.mlp", "layers.3.mlp", 3),
        ("layers.3.mlp", True, "layers.3.mlp.in", "layers.3.mlp", 3),
        ("h.3.attn", True, "layers.3.attn.in", "h.3.attn", 3),
        ("layers.3", False, "layers.3", "layers.3", 3),
        ("layers.3", True, "layers.3.resid.pre", "layers.3", 3),
        ("layers.3.mlp/seed1", False, "layers.3.mlp", "layers.3.mlp", 3),
        ("mine", False, None, None, None),
        ("embed_tokens.x", False, None, None, None),
    ],
)
def test_a_site_is_the_module_that_the_folder_is_named_after(
    folder, transcode, reads, writes, layer, tmp_path
):
    (tmp_path / folder).mkdir(parents=True)
    config = {"d_in": 8, "k": 4, "transcode": transcode}
    (tmp_path / folder / "cfg.json").write_text(json.dumps(config))

    card = Sparsify().card(tmp_path / folder / "sae.safetensors")

    assert (card.reads, card.writes, card.layer) == (reads, writes, layer)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"signed": True}, r"has signed features, a kind that sparsify gave up"),
        ({"activation": "relu"}, r"activation in .* is 'relu', .* it knows topk, groupmax"),
        ({"num_latents": 32}, r"is \[8\], but must be|is \[24, 8\], but must be \[32, 8\]"),
        ({"num_latents": 0, "expansion_factor": 4}, r"is \[24\], but must be \[32\]|\[32, 8\]"),
        ({"k": 25}, r"k in .* is 25, but there are only 24 features"),
        ({"k": 7, "activation": "groupmax"}, r"24 features do not make 7 equal groups"),
        ({"skip_connection": True}, r"There is no tensor 'W_skip'"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(words, message, copied, read):
    folder = copied("sparsify/topk")
    change(folder, **words)

    with pytest.raises(DictionaryError, match=message):
        read(folder)


def test_features_that_were_not_signed_are_read(copied, assert_same_as_library):
    folder = copied("sparsify/topk")
    change(folder, signed=False)

    assert_same_as_library(folder / "layers.3.mlp")
