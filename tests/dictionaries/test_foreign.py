"""Dictionaries that other code holds in memory, in the shapes of three libraries."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from backlight.dictionaries.foreign import dictionary_from_object
from backlight.errors import DictionaryError

WIDTH, FEATURES = 8, 24


class SaeLensLike:
    """``W_enc``, ``W_dec``, ``b_dec``; a scale on the way out makes it more than its matrix."""

    def __init__(self, output_width=WIDTH, scale=1.0):
        self.W_enc = nn.Parameter(torch.randn(WIDTH, FEATURES))
        self.W_dec = nn.Parameter(torch.randn(FEATURES, output_width))
        self.b_dec = nn.Parameter(torch.randn(output_width))
        self.scale = scale

    def encode(self, x):
        return (x @ self.W_enc).relu()

    def decode(self, features):
        return (features @ self.W_dec + self.b_dec) * self.scale


class DictionaryLearningLike(nn.Module):
    def __init__(self, bias=False):
        super().__init__()
        self.encoder = nn.Linear(WIDTH, FEATURES)
        self.decoder = nn.Linear(FEATURES, WIDTH, bias=bias)
        if not bias:
            self.bias = nn.Parameter(torch.randn(WIDTH))

    def encode(self, x):
        return self.encoder(x).relu()

    def decode(self, features):
        return self.decoder(features) + getattr(self, "bias", 0.0)


class Encoded(NamedTuple):
    top_acts: Tensor
    top_indices: Tensor
    pre_acts: Tensor


class SparsifyLike:
    def __init__(self):
        self.encoder = nn.Linear(WIDTH, FEATURES)
        self.W_dec, self.b_dec = nn.Parameter(torch.randn(FEATURES, WIDTH)), torch.randn(WIDTH)
        self.W_skip = torch.randn(WIDTH, WIDTH)

    def encode(self, x):
        pre = self.encoder(x).relu()
        values, indices = pre.topk(4, sorted=False)
        return Encoded(values, indices, pre)

    def decode(self, top_acts, top_indices):
        return nn.functional.embedding_bag(
            top_indices, self.W_dec, per_sample_weights=top_acts, mode="sum"
        ).add(self.b_dec)


@pytest.fixture
def x():
    return torch.randn(9, WIDTH)


@pytest.mark.parametrize(
    "make",
    [
        SaeLensLike,
        lambda: SaeLensLike(output_width=5),
        DictionaryLearningLike,
        lambda: DictionaryLearningLike(bias=True),
    ],
    ids=["saelens", "transcoder", "dictionary_learning", "with_bias"],
)
def test_an_object_encodes_and_decodes_as_it_does_itself(make, x):
    obj = make()

    dictionary = dictionary_from_object(obj, reads="layers.2.mlp.out", layer=2)

    codes = dictionary.encode(x)
    assert_close(codes.dense(), obj.encode(x).detach())
    assert_close(dictionary.decode(codes, x), obj.decode(obj.encode(x)).detach())
    assert (dictionary.card.reads, dictionary.card.writes, dictionary.card.layer) == (
        "layers.2.mlp.out",
        "layers.2.mlp.out",
        2,
    )


def test_the_largest_features_and_where_they_are_are_enough(x):
    obj = SparsifyLike()

    dictionary = dictionary_from_object(obj, reads="a", writes="b", name="mine")

    encoded = obj.encode(x)
    codes = dictionary.encode(x)
    expected = obj.decode(encoded.top_acts, encoded.top_indices) + x @ obj.W_skip.T
    assert_close(dictionary.decode(codes, x), expected.detach())
    assert dictionary.card.writes == "b"
    assert (dictionary.card.path, dictionary.card.architecture) == ("mine", "SparsifyLike")


def test_sparse_features_are_written_out(x):
    obj = SaeLensLike()
    dense = obj.encode
    obj.encode = lambda x: dense(x).to_sparse()

    assert_close(dictionary_from_object(obj).encode(x).dense(), dense(x).detach())


def test_an_object_without_a_bias_has_none(x):
    obj = SaeLensLike()
    del obj.b_dec
    obj.decode = lambda features: features @ obj.W_dec

    assert not dictionary_from_object(obj).bias.any()


def test_taking_an_object_leaves_the_seed_and_its_tensors_alone():
    obj = SaeLensLike()
    before, seed = obj.W_dec.detach().clone(), torch.get_rng_state()

    dictionary = dictionary_from_object(obj)

    assert torch.equal(torch.get_rng_state(), seed)
    assert torch.equal(obj.W_dec, before)
    assert not dictionary.rows.requires_grad


def without(name):
    obj = SaeLensLike()
    setattr(obj, name, None)
    return obj


def with_encode(encode):
    obj = SaeLensLike()
    obj.encode = encode
    return obj


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (object(), r"A object is no dictionary: it has no encode\(\)"),
        (without("W_dec"), r"it has no matrix W_dec or decoder.weight"),
        (SaeLensLike(scale=2.0), r"decode\(\) of a SaeLensLike is not its decoder's matrix"),
        (with_encode(lambda x: [x]), r"encode\(\) of a SaeLensLike gives list"),
        (with_encode(lambda x: x), r"gives \[8, 8\] for 8 tokens, while its decoder has 24"),
        (with_encode(lambda x, y: x), r"does not encode and decode \[tokens, 8\]: .*argument"),
        (with_encode(lambda x: x @ x.new_zeros(3, 3)), r"does not encode .*: mat1 and mat2"),
    ],
    ids=["nothing", "no_matrix", "scaled", "list", "shape", "arguments", "width"],
)
def test_an_object_that_is_no_linear_dictionary_is_refused(obj, message):
    with pytest.raises(DictionaryError, match=message):
        dictionary_from_object(obj)
