"""Numbers, errors and names within sentences."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.surveys.driver.words.ranking import Estimate, estimates, largest
from backlight.surveys.driver.words.sentences import (
    count,
    how_sure,
    name,
    number,
    ordinal,
    share,
    text_of,
    times,
    with_error,
)
from backlight.tables import Table


def read(text):
    return [float(part.replace(",", "")) for part in text.split(" ± ")]


@pytest.mark.parametrize(
    ("value", "error", "told"),
    [
        (0.00143237, 0.00036139, "0.00143 ± 0.00036"),
        (7.97e-5, 1.766e-5, "8.0e-5 ± 1.8e-5"),
        (9.996e-5, 1e-6, "1.000e-4 ± 0.010e-4"),
        (-7.7e-6, 3e-6, "-7.7e-6 ± 3.0e-6"),
        (1234.0, 56.7, "1,234 ± 57"),
        (1.234e6, 5.6e4, "1.234e6 ± 0.056e6"),
        (307.591, 7.4e-15, "307.591 ± 7.4e-15"),
        (0.0, 0.1, "0.00 ± 0.10"),
        (1e-5, 0.02, "0.000 ± 0.020"),
        (0.25, 0.0, "0.250 ± 0"),
        (0.0, 0.0, "0 ± 0"),
        (12.34, math.nan, "12.3"),
        (math.nan, 0.1, "nan"),
        (5e-324, 5e-324, "4.94066e-324 ± 4.9e-324"),
    ],
)
def test_a_number_and_its_error_have_the_same_digits(value, error, told):
    assert with_error(value, error) == told


@given(
    st.floats(-1e30, 1e30, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-30),
    st.floats(1e-30, 1e30),
)
def test_what_is_told_is_within_a_tenth_of_the_error(value, error):
    told, told_error = read(with_error(value, error))

    assert abs(told - value) <= max(0.051 * error, 1e-5 * abs(value))
    assert told_error == pytest.approx(error, rel=0.051)


@given(st.floats(-1e300, 1e300, allow_nan=False))
def test_a_number_alone_keeps_three_digits(value):
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


def test_shares_ratios_places_and_counts_are_written_as_people_do():
    assert share(0.19047) == "19 %"
    assert share(0.991, 0.002) == "99.10 ± 0.20 %"
    assert times(17.97) == "18 times"
    assert [ordinal(each) for each in (2, 3, 4, 11, 12, 21, 113)] == [
        *("2nd", "3rd", "4th", "11th", "12th", "21st", "113th")
    ]
    assert count(1, "layer") == "1 layer"
    assert count(2304, "feature") == "2,304 features"


def test_names_of_strangers_are_plain_and_not_too_long():
    assert name("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc"
    long = name("/home/" + 40 * "deep/" + "model")
    assert long.startswith("/home/deep")
    assert long.endswith("deep/model")
    assert len(long) < 50


def test_a_text_is_told_with_its_stride():
    config = {"dataset": "shakespeare"}

    assert text_of(config, 1, 1) == "1 token in 1 passage of shakespeare"
    assert (
        text_of(config, 1234, 16, stride=4)
        == "1,234 tokens (every 4th) in 16 passages of shakespeare"
    )


FIRST = Estimate(name="layer 3", value=-1.0, error=0.1)


@pytest.mark.parametrize(
    ("value", "error", "told"),
    [(0.9, 0.1, "too close to be sure of the order"), (0.5, 0.1, "do not overlap")],
)
def test_it_is_said_whether_the_order_of_the_first_two_is_sure(value, error, told):
    second = Estimate(name="layer 1", value=value, error=error)

    assert told in how_sure(FIRST, 16, "passage", second)
    assert FIRST.is_apart(second) == (told == "do not overlap")


def test_without_an_error_nothing_is_said_to_be_sure():
    alone = Estimate(name="layer 3", value=1.0)

    assert "there is only one passage" in how_sure(alone, 1, "passage")
    assert "no standard error is known" in how_sure(alone, 16, "passage")
    assert "±" not in how_sure(alone, 16, "passage", FIRST)


def test_rows_are_ordered_by_size_and_read_with_their_errors():
    table = Table(
        name="t",
        columns={
            "layer": np.arange(4),
            "mean": np.array([1.0, np.nan, -3.0, 2.0]),
            "mean_se": np.array([0.1, 0.2, 0.3, 0.4]),
        },
    )

    ordered = largest(table, "mean", 3)
    found = estimates(ordered, "mean", ["a", "b", "c"])

    assert ordered["layer"].tolist() == [2, 3, 0]
    assert [(each.value, each.error) for each in found] == [(-3.0, 0.3), (2.0, 0.4), (1.0, 0.1)]
    assert math.isnan(estimates(ordered, "layer", ["a", "b", "c"])[0].error)
