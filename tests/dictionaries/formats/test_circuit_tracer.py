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


def test_a_cross_layer_transcoder_is_known_and_refused(written):
    with pytest.raises(
        DictionaryError, match=r"is a cross-layer transcoder: .*Use transcoders of single layers"
    ):
        find_dictionaries(written / "circuit_tracer" / "cross_layer")


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
