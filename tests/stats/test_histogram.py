"""The logarithmic histogram against sorting every value by hand."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backlight.stats.histogram import LogHistogram


def fed(values, valid=None):
    tensor = torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1)
    valid = torch.ones(tensor.shape[:2], dtype=torch.bool) if valid is None else valid
    histogram = LogHistogram()
    histogram.update(tensor, valid=valid, passages=(0,))
    return histogram


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False), min_size=1, max_size=40
    )
)
def test_every_value_lies_in_its_bin(values):
    result = fed(values).result()

    assert result.counts.sum() == len(values)
    for lower, upper, count in zip(result.lower, result.upper, result.counts, strict=True):
        inside = [v for v in values if (lower <= v < upper if lower >= 0 else lower < v <= upper)]
        zeros = [v for v in inside if v == 0]
        if lower == 0 or upper == 0:  # zeros of either sign go to one of the two innermost bins
            assert abs(count - len(inside)) <= len(zeros) + values.count(0.0)
        else:
            assert count == len(inside)


def test_bins_ascend_and_touch():
    result = fed([-3.0, -0.02, 0.5, 100.0]).result()

    assert (result.lower < result.upper).all()
    positive = result.lower > 0
    np.testing.assert_array_equal(result.upper[positive][:-1], result.lower[positive][1:])
    negative = result.upper < 0
    np.testing.assert_array_equal(result.upper[negative][:-1], result.lower[negative][1:])


def test_there_are_eight_bins_in_each_octave():
    result = fed([1.0, 1.9999]).result()

    assert len(result.counts) == 8
    np.testing.assert_allclose(result.upper - result.lower, 0.125)


def test_pads_are_not_counted():
    valid = torch.tensor([[True, True, False, False]])

    result = fed([1.0, 0.0, 0.0, 0.0], valid).result()

    assert result.counts.sum() == 2


def test_merging_adds_counts_and_a_state_comes_back():
    first, second = fed([1.0, 2.0, -3.0]), fed([2.0, 0.0])
    first.merge(second)
    restored = LogHistogram()
    restored.restore(first.state())

    np.testing.assert_array_equal(
        restored.state()["counts"], fed([1.0, 2.0, -3.0, 2.0, 0.0]).state()["counts"]
    )
