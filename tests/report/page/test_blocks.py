import base64
import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backlight.report.page.blocks import Blocks, are_many

FEW = 64


def read_back(blocks, reference):
    """Read numbers as the page's script does."""
    if isinstance(reference, list):
        return np.array([np.nan if value is None else value for value in reference])
    content = base64.b64decode(blocks.contents[reference["b"]])
    if reference["f"] == "f4":
        return np.frombuffer(content, "<f4").astype(np.float64)
    codes = np.frombuffer(content, "<u2")
    steps = (codes & 0x7FFF if reference["signed"] else codes).astype(np.float64) - 1
    with np.errstate(over="ignore"):  # the code of what is not known has no size
        sizes = np.exp(reference["low"] + reference["step"] * steps)
    signs = np.where(codes & 0x8000, -1, 1) if reference["signed"] else 1
    return np.where(codes == 0xFFFF, np.nan, np.where(codes == 0, 0.0, signs * sizes))


def test_few_numbers_stand_where_they_are_used():
    blocks = Blocks()
    numbers = blocks.numbers(np.array([1.5, np.nan, np.inf, -np.inf, -2]))
    assert numbers == [1.5, None, "Infinity", "-Infinity", -2]  # the script reads such letters
    assert blocks.contents == []


def test_many_numbers_are_float32_to_the_last_bit():
    blocks, values = Blocks(), np.random.default_rng(0).normal(size=(20, 10))
    reference = blocks.numbers(values)
    assert (read_back(blocks, reference) == values.ravel().astype(np.float32)).all()


@given(
    arrays(
        np.float64,
        st.integers(FEW + 1, 200),
        elements=st.one_of(
            st.just(0.0),
            st.just(np.nan),
            st.just(np.inf),
            st.floats(1e-9, 1e-3),
            st.floats(-1e-3, -1e-9),
        ),
    )
)
def test_briefly_written_numbers_keep_their_sign_zero_and_three_digits(values):
    blocks = Blocks()
    found = read_back(blocks, blocks.numbers(values, briefly=True))
    known = np.isfinite(values)
    assert (np.isnan(found) == ~known).all()
    assert (np.sign(found[known]) == np.sign(values[known])).all()
    assert found[known] == pytest.approx(values[known], rel=5e-4)


def test_sizes_over_six_orders_of_magnitude_lose_a_ten_thousandth():
    blocks, values = Blocks(), np.geomspace(1e-8, 1e-2, 5000)
    found = read_back(blocks, blocks.numbers(values, briefly=True))
    assert found == pytest.approx(values, rel=1.1e-4)


@pytest.mark.parametrize("value", [0.0, 3e-5, -3e-5, np.nan])
def test_numbers_that_are_all_the_same_are_read_back(value):
    blocks, values = Blocks(), np.full(FEW + 1, value)
    found = read_back(blocks, blocks.numbers(values, briefly=True))
    assert found == pytest.approx(values, nan_ok=True)


def test_texts_are_packed_and_equal_ones_give_equal_bytes():
    one, other = Blocks(), Blocks()
    reference = one.texts(["a", ["«b»", 1.5]])
    other.texts(["a", ["«b»", 1.5]])
    packed = base64.b64decode(one.contents[reference["b"]])
    assert json.loads(gzip.decompress(packed)) == ["a", ["«b»", 1.5]]
    assert one.contents == other.contents


def test_only_very_many_numbers_are_written_briefly():
    assert not are_many(30 * 576)
    assert are_many(24 * 65_536)
