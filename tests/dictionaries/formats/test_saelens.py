"""Dictionaries of SAELens, 6 and 5: the same numbers as there, and none that cannot be right."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from backlight.dictionaries.activations import Gated, GroupMax, Relu, Threshold, TopK
from backlight.dictionaries.dictionary import Card, Dictionary, ForeignEncoder, LinearEncoder
from backlight.dictionaries.formats import saelens
from backlight.errors import DictionaryError, StorageError

SIX = [
    "standard_minus_b_dec",
    "standard_not_minus_b_dec",
    "standard_layer_norm",
    "standard_constant_norm_rescale",
    "standard_expected_average_only_in",
    "standard_float16",
    "standard_hook_z",
    "gated",
    "topk_rescaled",
    "topk_not_rescaled",
    "abstopk",
    "jumprelu",
    "jumprelu_constant_norm",
    "batchtopk",
    "batchtopk_not_rescaled",
    "matryoshka",
    "transcoder",
    "transcoder_layer_norm",
    "skip_transcoder",
    "jumprelu_transcoder",
    "jumprelu_skip_transcoder",
    "old_standard",
    "old_scaled_input",
    "old_topk",
    "old_layer_norm_gated",
]
FIVE = ["standard", "fine_tuned", "gated", "jumprelu", "topk"]


@pytest.mark.parametrize("name", SIX)
def test_saelens_6_computes_the_same(name, written, assert_same_as_library):
    assert_same_as_library(written / "saelens" / name)


@pytest.mark.parametrize("name", FIVE)
def test_saelens_5_computes_the_same(name, written, assert_same_as_library):
    assert_same_as_library(written / "saelens_5" / name)


def test_a_card_tells_what_the_metadata_say(written):
    file = written / "saelens" / "jumprelu_skip_transcoder" / "sae_weights.safetensors"

    card = saelens.SAELens().card(file)

    assert card == Card(
        format="SAELens",
        path=str(file.parent),
        architecture="jumprelu_skip_transcoder",
        reads="blocks.3.hook_mlp_out",
        writes="blocks.4.hook_mlp_out",
        layer=3,
        model="pythia-70m",
        neuronpedia="a/b",
    )


def test_a_card_of_before_version_6_tells_as_much(written):
    file = written / "saelens_5" / "topk" / "sae_weights.safetensors"

    card = saelens.SAELens().card(file)

    assert (card.reads, card.writes) == ("blocks.3.hook_resid_pre", "blocks.3.hook_resid_pre")
    assert (card.architecture, card.layer, card.model) == ("topk", 3, "gpt2-small")


def test_matrices_are_rows_in_one_piece(written, read):
    dictionary = read(written / "saelens" / "standard_minus_b_dec")

    for rows in (dictionary.rows, dictionary.encoder.rows):
        assert rows.shape == (24, 8)
        assert rows.is_contiguous()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_everything_is_in_the_number_format_asked_for(dtype, written, read):
    dictionary = read(written / "saelens" / "jumprelu", dtype=dtype)

    parts = (dictionary.rows, dictionary.bias, dictionary.encoder.activation.threshold)
    assert {part.dtype for part in parts} == {dtype}


def test_a_scale_that_is_not_in_the_files_is_told(written, read, caplog):
    with caplog.at_level(logging.WARNING):
        read(written / "saelens" / "standard_expected_average_only_in")

    assert "the scale is not in its files" in caplog.text


def test_a_decoder_row_of_zeros_does_not_become_nan(copied, read):
    folder = copied("saelens/topk_rescaled")
    file = folder / "sae_weights.safetensors"
    tensors = load_file(file)
    tensors["W_dec"][5] = 0
    save_file(tensors, file)

    dictionary = read(folder)

    assert dictionary.rows[5].eq(0).all()
    assert not dictionary.encode(torch.randn(9, 8)).dense()[:, 5].any()


@pytest.mark.parametrize("kind", ["temporal", "matching_pursuit"])
def test_kinds_without_a_linear_decoder_are_refused(kind, written, read):
    with pytest.raises(DictionaryError, match=rf"is a {kind} dictionary, which has no linear"):
        read(written / "saelens" / f"refused_{kind}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architecture": "crosscoder"},
            r"architecture in .* is 'crosscoder', .* it knows standard",
        ),
        ({"architecture": None}, r"architecture in .*cfg.json' is missing"),
        ({"normalize_activations": "covariance_whitening"}, r"is 'covariance_whitening', which"),
        ({"d_sae": 25}, r"'W_dec' in .* is \[24, 8\], but must be \[25, 8\]"),
        ({"d_in": 24, "d_sae": 8}, r"'W_dec' .* must be \[8, 24\]; it is transposed"),
        ({"d_in": 0}, r"d_in in .* is 0, but must be 1 or more"),
        ({"d_in": "8"}, r"d_in in .* is '8', which is not a whole number"),
        ({"d_sae": True}, r"d_sae in .* is True, which is not a whole number"),
        ({"apply_b_dec_to_input": 1}, r"is 1, which is not true or false"),
        ({"metadata": "none"}, r"metadata in .* is 'none', not an object"),
        ({"metadata": {"sae_lens_version": "6.0.0", "hook_head_index": 3}}, r"reads one attention"),
    ],
)
def test_a_configuration_that_cannot_be_right_is_refused(changes, message, copied, read):
    folder = copied("saelens/jumprelu")
    config = json.loads((folder / "cfg.json").read_text()) | changes
    kept = {name: value for name, value in config.items() if value is not None}
    (folder / "cfg.json").write_text(json.dumps(kept))

    with pytest.raises(DictionaryError, match=message):
        read(folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"activation_fn_str": "tanh-relu"}, r"activation_fn in .* it knows relu, topk"),
        ({"activation_fn_str": "topk", "activation_fn_kwargs": {}}, r"activation_fn_kwargs.k in"),
    ],
)
def test_an_old_configuration_that_cannot_be_right_is_refused(words, message, copied, read):
    folder = copied("saelens_5/standard")
    config = json.loads((folder / "cfg.json").read_text()) | words
    (folder / "cfg.json").write_text(json.dumps(config))

    with pytest.raises(DictionaryError, match=message):
        read(folder)


def test_a_scaling_factor_that_nothing_explains_is_refused(copied, read):
    folder = copied("saelens_5/fine_tuned")
    config = json.loads((folder / "cfg.json").read_text()) | {"finetuning_scaling_factor": False}
    (folder / "cfg.json").write_text(json.dumps(config))

    with pytest.raises(DictionaryError, match="does not say that it was fine-tuned"):
        read(folder)


def test_more_features_at_a_token_than_there_are_is_refused(copied, read):
    folder = copied("saelens/topk_rescaled")
    config = json.loads((folder / "cfg.json").read_text()) | {"k": 25}
    (folder / "cfg.json").write_text(json.dumps(config))

    with pytest.raises(DictionaryError, match=r"k in .* is 25, but there are only 24 features"):
        read(folder)


def test_a_dictionary_without_its_configuration_is_refused(copied, read):
    folder = copied("saelens/jumprelu")
    (folder / "cfg.json").unlink()

    with pytest.raises(DictionaryError, match=r"There is no file '.*cfg.json'"):
        read(folder)


def trained(activation=None, input_bias="same", **others):
    """Make a dictionary as training leaves it."""
    bias = torch.randn(8)
    biases = {"same": bias, "none": None, "other": torch.randn(8)}
    return Dictionary(
        encoder=LinearEncoder(
            rows=torch.randn(24, 8),
            bias=torch.randn(24),
            input_bias=biases[input_bias],
            activation=activation or Threshold(threshold=torch.full((24,), 0.5)),
        ),
        rows=torch.nn.functional.normalize(torch.randn(24, 8), dim=1),
        bias=bias,
        card=Card(format="backlight", path="", architecture="batchtopk"),
        **others,
    )


def write(dictionary, folder, **others):
    words = {"model_name": "gpt2", "hook_name": "blocks.2.hook_mlp_out", **others}
    saelens.write(dictionary, folder, **words)


@pytest.mark.parametrize("input_bias", ["same", "none", "other"])
@pytest.mark.parametrize(
    "activation",
    [Threshold(threshold=torch.rand(24)), Relu(), TopK(k=3), TopK(k=3, by_size=True)],
    ids=["threshold", "relu", "topk", "abstopk"],
)
def test_what_is_written_is_read_back(activation, input_bias, tmp_path, read):
    dictionary = trained(activation, input_bias)

    write(dictionary, tmp_path / "new")

    found, x = read(tmp_path / "new"), torch.randn(40, 8)
    codes = dictionary.encode(x)
    assert_close(found.encode(x).dense(), codes.dense(), atol=1e-5, rtol=1e-4)
    assert_close(found.decode(codes, x), dictionary.decode(codes, x))


@pytest.mark.parametrize("normalization", ["layer_norm", "constant_norm"])
def test_a_normalisation_is_written_too(normalization, tmp_path, read):
    write(trained(normalization=normalization), tmp_path)

    assert read(tmp_path).normalization == normalization


def test_what_is_written_tells_where_it_belongs(tmp_path, read):
    write(
        trained(),
        tmp_path,
        hf_hook_name="transformer.h.2.mlp",
        notes={"training": {"tokens": 5}},
        dtype=torch.float16,
    )

    config = json.loads((tmp_path / "cfg.json").read_text())
    card = read(tmp_path).card
    assert (card.reads, card.writes, card.layer) == (
        "blocks.2.hook_mlp_out",
        "blocks.2.hook_mlp_out",
        2,
    )
    assert (config["architecture"], config["dtype"]) == ("jumprelu", "float16")
    assert config["metadata"]["training"] == {"tokens": 5}
    assert config["metadata"]["hf_hook_name"] == "transformer.h.2.mlp"
    assert load_file(tmp_path / "sae_weights.safetensors")["W_enc"].dtype == torch.float16


def test_heads_are_said_to_be_laid_side_by_side(tmp_path):
    write(trained(), tmp_path, hook_name="blocks.2.attn.hook_z")

    config = json.loads((tmp_path / "cfg.json").read_text())
    assert config["reshape_activations"] == "hook_z"


ONES = torch.ones(24)


@pytest.mark.parametrize(
    "dictionary",
    [
        trained(GroupMax(k=3)),
        trained(Gated(gate_bias=ONES, magnitude_scale=ONES, magnitude_bias=ONES)),
        trained(skip=torch.ones(8, 8)),
        Dictionary(
            encoder=ForeignEncoder(encode=torch.abs),
            rows=torch.ones(24, 8),
            bias=torch.ones(8),
            card=Card(format="", path="", architecture=""),
        ),
    ],
    ids=["groupmax", "gated", "skip", "foreign"],
)
def test_what_saelens_could_not_hold_is_not_written(dictionary, tmp_path):
    with pytest.raises(DictionaryError, match="written for SAELens"):
        write(dictionary, tmp_path / "new")

    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError, match=r"cfg.json' cannot be written"):
        write(trained(), tmp_path / "file" / "inside")


def test_others_may_read_what_is_written_as_much_as_any_file(tmp_path):
    write(trained(), tmp_path)

    modes = {file.stat().st_mode for file in tmp_path.iterdir()}
    assert len(modes) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "cfg.json",
        "sae_weights.safetensors",
    ]
