"""Dictionaries laid out as Llama Scope: the published formula, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from backlight.dictionaries.activations import Threshold, TopK
from backlight.dictionaries.collection import find_dictionaries
from backlight.errors import DictionaryError

AUTOENCODER = "llama_scope/Llama3_1-8B-Base-L3M-8x"
TRANSCODER = "llama_scope/Llama3_1-8B-Base-L3TC-8x"


@pytest.mark.parametrize(
    "name",
    [AUTOENCODER, TRANSCODER]
    + [f"llama_scope/{kind}" for kind in ("topk", "without_decoder_norm", "subtracts")],
)
def test_the_published_formula_computes_the_same(name, written, assert_same_as_library):
    card = assert_same_as_library(written / name).card

    assert (card.format, card.layer, card.writes) == ("Llama Scope", 3, "blocks.3.hook_mlp_out")


def test_a_transcoder_reads_one_site_and_writes_another(written):
    card = find_dictionaries(written / TRANSCODER).cards[3]

    assert card.architecture == "jumprelu_transcoder"
    assert card.reads == "blocks.3.ln2.hook_normalized"
    assert card.writes == "blocks.3.hook_mlp_out"


def test_a_threshold_takes_the_place_of_topk_when_there_is_one(written, read):
    assert isinstance(read(written / "llama_scope/topk").encoder.activation, TopK)
    assert isinstance(
        read(written / "llama_scope/topk_with_threshold").encoder.activation, Threshold
    )


def test_decoder_rows_have_unit_norm_where_the_threshold_counts_them(written, read):
    norms = read(written / TRANSCODER).rows.norm(dim=1)

    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_weights_that_are_already_scaled_are_taken_as_they_are(copied, read):
    folder = copied(AUTOENCODER)
    change(folder, norm_activation="inference", sparsity_include_decoder_norm=False)
    tensors = load_file(folder / "checkpoints" / "final.safetensors")

    found = read(folder)

    assert torch.equal(found.rows, tensors["decoder.weight"].T)
    assert torch.equal(found.encoder.bias, tensors["encoder.bias"])
    assert torch.equal(found.bias, tensors["decoder.bias"])


def test_a_dictionary_without_an_output_bias_has_zeros(copied, read):
    folder = copied(AUTOENCODER)
    change(folder, use_decoder_bias=False)

    assert not read(folder).bias.any()


def change(folder, **settings):
    file = folder / "hyperparams.json"
    found = {**json.loads(file.read_text()), **settings}
    kept = {name: value for name, value in found.items() if value is not None}
    file.write_text(json.dumps(kept))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm_activation": "token-wise"}, r"norm_activation .* 'token-wise', which backlight"),
        (
            {"dataset_average_activation_norm": None},
            r"dataset_average_activation_norm\.in in .* is missing",
        ),
        (
            {"dataset_average_activation_norm": {"in": 5.0}},
            r"dataset_average_activation_norm\.out in .* is missing: there is 'in'",
        ),
        (
            {"dataset_average_activation_norm": {"in": 0.0, "out": 1.0}},
            r"is 0 and 1, but norms must be above zero",
        ),
        (
            {"dataset_average_activation_norm": {"in": 1e-300, "out": 1.0}},
            r"final.safetensors' overflow when they are scaled by the norms",
        ),
        ({"use_glu_encoder": True}, r"has a gated linear unit as its encoder"),
        ({"act_fn": "batchtopk"}, r"act_fn in .* 'batchtopk', .* knows jumprelu, topk, relu"),
        ({"jump_relu_threshold": None}, r"jump_relu_threshold in .* is missing"),
        ({"hook_point_in": None}, r"hook_point_in in .*hyperparams.json' is missing"),
        ({"d_sae": 23}, r"'decoder.weight' .* is \[8, 24\], but must be \[8, 23\]"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(settings, message, copied, read):
    folder = copied(AUTOENCODER)
    change(folder, **settings)

    with pytest.raises(DictionaryError, match=message):
        read(folder)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("decoder.bias", None, r"There is no tensor 'decoder.bias'"),
        (
            "encoder.weight",
            torch.ones(8, 24),
            r"\[8, 24\], but must be \[24, 8\]; it is transposed",
        ),
        ("encoder.bias", torch.full((24,), torch.nan), r"'encoder.bias' .* holds NaN or infinity"),
        ("encoder.bias", torch.ones(24, dtype=torch.int64), r"holds int64 numbers"),
    ],
    ids=["missing", "transposed", "nan", "whole"],
)
def test_tensors_that_cannot_be_right_are_refused(name, tensor, message, copied, read):
    folder = copied(AUTOENCODER)
    file = folder / "checkpoints" / "final.safetensors"
    tensors = {**load_file(file), name: tensor}
    save_file({key: value for key, value in tensors.items() if value is not None}, file)

    with pytest.raises(DictionaryError, match=message):
        read(folder)
