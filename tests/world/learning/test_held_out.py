"""Which questions are held out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.world.learning.held_out import is_held_out

IDS = st.integers(0, 9999).map("c_{:04d}".format)


@given(IDS, IDS)
def test_a_pair_is_held_out_in_either_order_and_in_every_task(one, other):
    choices = {
        is_held_out(row, 0.5)
        for row in (f"dist({one},{other})=1", f"dist({other},{one})=", f"compass({one},{other})=N")
    }
    assert len(choices) == 1


def test_the_answer_does_not_count():
    assert len({is_held_out(f"dist(c_0001,c_0002)={answer}", 0.5) for answer in range(50)}) == 1


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_the_share_is_what_was_asked_for(share):
    pairs = [f"dist(c_{a:04d},c_{b:04d})=" for a in range(200) for b in range(a)]
    found = sum(is_held_out(row, share) for row in pairs) / len(pairs)
    assert abs(found - share) < 4 * (share * (1 - share) / len(pairs)) ** 0.5


def test_what_is_held_out_stays_so_when_the_share_grows():
    rows = [f"circlecount(c_0001,r={radius})=" for radius in range(300)]
    small, large = ({row for row in rows if is_held_out(row, share)} for share in (0.1, 0.2))
    assert set() < small < large


def test_all_that_is_asked_counts_and_not_the_cities_alone():
    choices = {is_held_out(f"nearest(c_0001,{number})=", 0.5) for number in range(40)}
    assert choices == {True, False}


def test_semicolons_part_what_is_asked():
    assert {is_held_out(f"cross(c_0001,c_0002;c_0003,c_{n:04d})=", 0.5) for n in range(40)} == {
        True,
        False,
    }
