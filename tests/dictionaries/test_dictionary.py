"""A dictionary encodes in blocks, undoes its normalisation, and knows what a feature is worth."""

import pytest
import torch
from torch.testing import assert_close

from backlight.dictionaries import dictionary as room
from backlight.dictionaries.activations import Relu, Threshold
from backlight.dictionaries.codes import Codes
from backlight.dictionaries.dictionary import (
    Card,
    Dictionary,
    ForeignEncoder,
    LinearEncoder,
    NormalizedEncoder,
)
from backlight.dictionaries.normalization import scale_of

CARD = Card(format="test", path="", architecture="standard")
WIDTH, FEATURES = 6, 15


def linear(**others):
    return LinearEncoder(
        rows=torch.randn(FEATURES, WIDTH, dtype=torch.float64),
        bias=torch.randn(FEATURES, dtype=torch.float64),
        **{"input_bias": None, "activation": Relu(), **others},
    )


def make(output_width=WIDTH, **others):
    return Dictionary(
        rows=torch.randn(FEATURES, output_width, dtype=torch.float64),
        bias=torch.randn(output_width, dtype=torch.float64),
        card=CARD,
        **{"encoder": linear(), **others},
    )


@pytest.fixture
def x():
    return torch.randn(8, WIDTH, dtype=torch.float64) * 3 + 1


def test_an_encoder_subtracts_its_input_bias(x):
    bias = torch.randn(WIDTH, dtype=torch.float64)
    encoder = linear(input_bias=bias)

    assert_close(encoder(x), ((x - bias) @ encoder.rows.T + encoder.bias).relu())


def test_blocks_do_not_change_what_is_encoded(x, monkeypatch):
    dictionary = make()
    whole = dictionary.encode(x).dense()

    monkeypatch.setattr(room, "_BLOCK_BYTES", 3 * 8 * FEATURES)

    assert_close(dictionary.encode(x).dense(), whole)


def test_no_tokens_are_encoded_to_no_codes(x):
    codes = make().encode(x[:0])

    assert (codes.num_tokens, codes.num_features, len(codes.values)) == (0, FEATURES, 0)


def test_a_transcoder_adds_its_linear_path(x):
    skip = torch.randn(4, WIDTH, dtype=torch.float64)
    dictionary = make(output_width=4, skip=skip)

    codes = dictionary.encode(x)

    expected = codes.dense() @ dictionary.rows + dictionary.bias + x @ skip.T
    assert_close(dictionary.decode(codes, x), expected)


@pytest.mark.parametrize("kind", ["layer_norm", "constant_norm"])
def test_a_normalised_dictionary_is_blind_to_scale_and_scales_its_output(x, kind):
    dictionary = make(normalization=kind)

    codes, larger = dictionary.encode(x), dictionary.encode(7 * x)

    assert_close(larger.dense(), codes.dense(), rtol=1e-4, atol=1e-4)
    assert_close(dictionary.decode(codes, 7 * x), 7 * dictionary.decode(codes, x))


def test_layer_norm_is_blind_to_a_shift_and_shifts_its_output(x):
    dictionary = make(normalization="layer_norm")

    codes = dictionary.encode(x)

    assert_close(dictionary.encode(x + 5).dense(), codes.dense())
    assert_close(dictionary.decode(codes, x + 5), dictionary.decode(codes, x) + 5)


@pytest.mark.parametrize("kind", ["none", "layer_norm", "constant_norm"])
def test_the_scaled_gradient_times_the_rows_is_what_a_change_of_a_feature_changes(x, kind):
    dictionary = make(normalization=kind)
    weight = torch.randn(8, WIDTH, dtype=torch.float64)
    features = dictionary.encode(x).dense()

    def loss(features):
        return (dictionary.decode(Codes.of(features), x) * weight).sum()

    def slope(token, feature):
        step = torch.zeros_like(features)
        step[token, feature] = 0.5  # decoding is affine: a difference is the derivative
        return (loss(features + step) - loss(features - step)).item()

    found = (weight * scale_of(kind, x)) @ dictionary.rows.T
    for token, feature in ((0, 0), (3, 7), (7, FEATURES - 1)):
        assert found[token, feature].item() == pytest.approx(slope(token, feature))


def test_a_normalised_encoder_leaves_the_output_alone(x):
    inner = linear(activation=Threshold(threshold=torch.zeros(FEATURES, dtype=torch.float64)))
    dictionary = make(encoder=NormalizedEncoder(encoder=inner, normalization="layer_norm"))
    undone = make(encoder=inner, normalization="layer_norm")

    codes = dictionary.encode(x)

    assert_close(codes.dense(), undone.encode(x).dense())
    assert_close(dictionary.decode(codes, x), codes.dense() @ dictionary.rows + dictionary.bias)


def test_a_foreign_encoder_calls_what_it_was_given(x):
    assert torch.equal(ForeignEncoder(encode=torch.abs)(x), x.abs())
