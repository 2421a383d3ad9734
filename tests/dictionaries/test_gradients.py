"""Closed-form gradients of features against the dense product of tokens and features."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from backlight.dictionaries import gradients as closed_form
from backlight.dictionaries.codes import Codes
from backlight.dictionaries.gradients import absolute_sums, gradients_where_active
from zoo.dictionaries import random_dictionary

WIDTH = 12
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def tokens_and_rows(num_tokens, num_features, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randn(num_tokens, WIDTH, generator=generator, dtype=torch.float64)
    rows = torch.randn(num_features, WIDTH, generator=generator, dtype=torch.float64)
    return tokens.to(dtype), rows.to(dtype)


def dense_sums(tokens, lengths, rows):
    products = (tokens.double() @ rows.double().T).abs()
    return torch.stack([part.sum(0) for part in products.split(lengths)])


def gathered(parts):
    sums, lengths = zip(*parts, strict=True)
    return torch.cat(sums), [length for group in lengths for length in group]


@pytest.fixture
def small_tiles(monkeypatch):
    """Cut the product into many tiles, at which the sums must not show."""
    monkeypatch.setattr(closed_form, "_TILE_TOKENS", 10)
    monkeypatch.setattr(closed_form, "_TILE_BYTES", 1)
    monkeypatch.setattr(closed_form, "_GATHERED_BYTES", 1)


class Largest(TorchDispatchMode):
    """Watches how many numbers the largest tensor has that is made."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numbers = max(self.numbers, made.untyped_storage().nbytes() // made.itemsize)
        return made


_LENGTHS = {
    "one token": [1],
    "one sequence": [9],
    "of all sizes": [3, 7, 1, 10, 4, 4, 2, 9],
    "longer than a tile": [3, 25, 1, 11, 30],
    "just a tile": [4, 6, 10, 5, 5, 1],
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("num_features", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("lengths", _LENGTHS.values(), ids=_LENGTHS)
def test_sums_are_those_of_the_dense_product(small_tiles, lengths, num_features, dtype):
    tokens, rows = tokens_and_rows(sum(lengths), num_features, dtype)

    sums, told = gathered(absolute_sums(tokens, lengths, rows))

    assert told == lengths
    assert sums.dtype == dtype
    expected = dense_sums(tokens, lengths, rows)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(sums.double(), expected, rtol=tolerance, atol=tolerance)


def test_tiles_of_their_usual_size_give_the_same():
    lengths = [300, 500, 12, 513, 700, 1]
    tokens, rows = tokens_and_rows(sum(lengths), 1500)

    sums, told = gathered(absolute_sums(tokens, lengths, rows))

    assert told == lengths
    torch.testing.assert_close(sums, dense_sums(tokens, lengths, rows))


def test_nothing_is_held_that_grows_with_tokens_times_features(small_tiles, monkeypatch):
    monkeypatch.setattr(closed_form, "_TILE_TOKENS", 100)
    lengths, num_features = [5] * 40, 1000
    tokens, rows = tokens_and_rows(sum(lengths), num_features)

    with Largest() as largest:
        for _ in absolute_sums(tokens, lengths, rows):
            pass

    # The sums of the twenty sequences of a tile are the largest; its products would be 100 times
    # the features.
    assert largest.numbers == 20 * num_features


def test_arguments_are_left_alone():
    tokens, rows = tokens_and_rows(9, 70)
    before = tokens.clone(), rows.clone()

    list(absolute_sums(tokens, [4, 5], rows))

    assert torch.equal(tokens, before[0])
    assert torch.equal(rows, before[1])


def test_no_sequence_has_no_sums():
    tokens, rows = tokens_and_rows(0, 5)

    assert list(absolute_sums(tokens, [], rows)) == []


@pytest.mark.parametrize("tiles", ["usual", "small"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_gradients_where_features_fire_are_those_of_the_dense_product(request, tiles, dtype):
    if tiles == "small":
        request.getfixturevalue("small_tiles")
    dictionary = random_dictionary(WIDTH, "threshold", dtype=dtype)
    tokens, _ = tokens_and_rows(30, 1, dtype)
    codes = dictionary.encode(tokens.flip(0))
    assert 0 < len(codes.values) < 30 * dictionary.num_features

    found = gradients_where_active(tokens, dictionary.rows, codes)

    dense = tokens @ dictionary.rows.T
    torch.testing.assert_close(found, dense[codes.tokens, codes.features])


@pytest.mark.parametrize("tiles", ["usual", "small"])
def test_where_nothing_fires_there_are_no_gradients(request, tiles):
    if tiles == "small":
        request.getfixturevalue("small_tiles")
    tokens, rows = tokens_and_rows(4, 6)

    found = gradients_where_active(tokens, rows, Codes.of(torch.zeros(4, 6, dtype=torch.float64)))

    assert found.shape == (0,)


def test_what_is_gathered_does_not_grow_with_the_number_of_entries(small_tiles):
    tokens, rows = tokens_and_rows(50, 40)
    codes = Codes.of(torch.ones(50, 40, dtype=torch.float64))

    with Largest() as largest:
        gradients_where_active(tokens, rows, codes)

    assert largest.numbers <= len(codes.values)  # the answer; not entries times width
