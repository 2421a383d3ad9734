"""Transcoders that circuit-tracer wrote, and what is refused."""

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from backlight.dictionaries.collection import find_dictionaries
from backlight.errors import DictionaryError


@pytest.mark.parametrize("name", ["relu", "jumprelu", "skip", "modules"])
def test_circuit_tracer_computes_the_same(name, written, assert_same_as_library):
    folder = written / "circuit_tracer" / name
    card = assert_same_as_library(folder, folder / "layer_1.safetensors").card

    assert (card.format, card.layer) == ("circuit-tracer", 1)
    assert card.model == "meta-llama/Llama-3.2-1B"


@pytest.mark.parametrize(
    ("name", "reads", "writes"),
    [
        ("relu", "blocks.1.hook_resid_mid", "blocks.1.hook_mlp_out"),
        ("modules", "layers.1.mlp.in", "layers.1.mlp.out"),
    ],
)
def test_every_layer_has_the_sites_that_the_configuration_names(name, reads, writes, written):
    cards = find_dictionaries(written / "circuit_tracer" / name).cards

    assert list(cards) == [0, 1]
    assert (cards[1].reads, cards[1].writes) == (reads, writes)


@pytest.mark.parametrize("name", ["cross_layer", "cross_layer_jumprelu"])
def test_the_layers_of_a_cross_layer_transcoder_add_up_to_what_the_library_computes(name, written):
    folder = written / "circuit_tracer" / name
    expected = load_file(folder / "expected.safetensors")
    found = find_dictionaries(folder)
    made = torch.zeros_like(expected["reconstruction"])

    for layer, card in found.cards.items():
        dictionary = found.load(layer, dtype=torch.float32, device=torch.device("cpu"))
        x = expected["x"][layer]
        codes = dictionary.encode(x)
        close = {"atol": 1e-5, "rtol": 1e-5}
        torch.testing.assert_close(codes.dense(), expected["features"][layer], **close)
        made[layer:] += dictionary.decode(codes, x).unflatten(1, (-1, 8)).transpose(0, 1)
        assert card.is_cross_layer
        assert (card.reads, card.writes) == (
            f"blocks.{layer}.hook_resid_mid",
            f"blocks.{layer}.hook_mlp_out",
        )

    assert list(found.cards) == [0, 1, 2]
    torch.testing.assert_close(made, expected["reconstruction"], **close)


@pytest.mark.parametrize(
    ("file", "tensor", "value", "message"),
    [
        ("W_dec_1", "W_dec_1", torch.ones(24, 8), r"is \[24, 8\], but must be \[24, 1, 8\]"),
        ("W_dec_1", "W_dec_1", torch.ones(24, 2, 7), r"\[24, 2, 7\], but must be \[24, 2, 8\]"),
        ("W_enc_1", "W_skip_1", torch.ones(8, 8), r"'W_skip_1', which circuit-tracer does not"),
    ],
)
def test_layers_that_cannot_be_right_are_refused(file, tensor, value, message, copied):
    folder = copied("circuit_tracer/cross_layer")
    path = folder / f"{file}.safetensors"
    save_file({**load_file(path), tensor: value}, path)

    with pytest.raises(DictionaryError, match=message):
        find_dictionaries(folder).load(1, dtype=torch.float32, device=torch.device("cpu"))


def test_an_encoder_without_its_decoder_is_refused(copied):
    folder = copied("circuit_tracer/cross_layer")
    (folder / "W_dec_2.safetensors").unlink()

    with pytest.raises(DictionaryError, match=r"There is no file .*W_dec_2.safetensors'"):
        find_dictionaries(folder).load(2, dtype=torch.float32, device=torch.device("cpu"))


def test_the_encoder_of_a_cross_layer_transcoder_needs_its_configuration(copied):
    folder = copied("circuit_tracer/cross_layer")
    (folder / "config.yaml").unlink()

    with pytest.raises(DictionaryError, match=r"There is no file .*config.yaml'"):
        find_dictionaries(folder)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"model_kind": "sae_set"}, r"model_kind .* 'sae_set', which backlight does not know"),
        ({"model_kind": None}, r"model_kind in .*config.yaml' is missing"),
        (
            {"model_kind": "cross_layer_transcoder"},
            r"is cross_layer_transcoder, but 'layer_0.safetensors' .* file of a transcoder_set",
        ),
        ({"feature_input_hook": None}, r"feature_input_hook in .* is missing"),
        ({"feature_output_hook": 3}, r"feature_output_hook in .* is 3, which is not text"),
    ],
)
def test_a_configuration_that_cannot_be_followed_is_refused(told, message, copied):
    folder = copied("circuit_tracer/relu")
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **told}))

    with pytest.raises(DictionaryError, match=message):
        find_dictionaries(folder)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("b_enc", None, r"There is no tensor 'b_enc'"),
        ("W_dec", torch.ones(8, 24), r"\[8, 24\], but must be \[24, 8\]; it is transposed"),
        ("W_skip", torch.ones(8, 7), r"'W_skip' .* is \[8, 7\], but must be \[8, 8\]"),
        ("activation_function.threshold", torch.full((24,), torch.nan), r"holds NaN or infinity"),
        ("log_thresholds", torch.ones(24), r"'log_thresholds', which circuit-tracer does not read"),
        ("W_enc", torch.ones(24, 8, dtype=torch.int8), r"'W_enc' .* holds int8 numbers"),
    ],
    ids=["missing", "transposed", "skip", "nan", "log_thresholds", "whole"],
)
def test_tensors_that_cannot_be_right_are_refused(name, tensor, message, copied, read):
    file = copied("circuit_tracer/relu") / "layer_0.safetensors"
    tensors = {**load_file(file), name: tensor}
    save_file({key: value for key, value in tensors.items() if value is not None}, file)

    with pytest.raises(DictionaryError, match=message):
        read(file)
