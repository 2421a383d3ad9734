"""The cases of a lab on gradient flow: thresholds 1e-6 and 1e6, from output to input."""

import math

import pytest

from backlight.training.doctor.norms import norm_issues


@pytest.mark.parametrize(
    ("norms", "status"),
    [
        ([0.1, 0.11, 0.09, 0.1, 0.12, 0.08], "healthy"),
        ([0.1, 0.05, 0.01, 1e-3, 1e-4, 1e-5], "vanishing"),
        ([1e-5, 1e-4, 1e-3, 0.1, 1.0, 10.0], "exploding"),
        ([1e-8, 1e-9, 1e-8], "vanishing"),
        ([1e8, 1e9, 1e8], "exploding"),
        ([0.1, 1e-4, 0.1, 0.1, 1e-4, 0.1], "unstable"),
        ([0.1, math.nan, 0.1], "unstable"),
        ([0.0, 0.0], "vanishing"),
        ([], "healthy"),
    ],
)
def test_norms_from_output_to_input_have_the_status_of_the_lab(norms, status):
    assert norm_issues(norms).status == status


def test_the_ratio_is_the_largest_norm_over_the_smallest():
    found = norm_issues([0.1, 0.05, 0.01])

    assert found.ratio == pytest.approx(10)
    assert (found.largest, found.smallest, found.status) == (0.1, 0.01, "healthy")


def test_the_other_order_turns_vanishing_into_exploding():
    norms = [0.1, 0.03, 1e-2, 1e-3, 1e-4]

    assert norm_issues(norms).status == "vanishing"
    assert norm_issues(norms[::-1]).status == "exploding"


def test_thresholds_can_be_set():
    assert norm_issues([0.1, 0.05, 0.01], ratio=5).status != "healthy"
    assert norm_issues([0.1], vanishing=0.5).status == "vanishing"
    assert norm_issues([200.0], exploding=100).status == "exploding"


def test_the_message_has_the_numbers():
    assert "1.00e-05 to 1.00e-01" in norm_issues([0.1, 1e-3, 1e-5]).message
