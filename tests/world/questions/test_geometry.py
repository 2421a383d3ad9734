"""Geometry of whole numbers agrees with other people's, also where points coincide."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import LineString, MultiPoint, Point

from backlight.world.questions.geometry import (
    DIRECTIONS,
    angle_at_middle,
    direction,
    distance,
    in_hull,
    nearest_to_mean,
    perimeter,
    segments_cross,
    triangle_area,
)

coordinate = st.integers(-5, 5) | st.integers(-1800, 1800)
point = st.tuples(coordinate, coordinate)


def at(*points):
    """One question about these points, or lists of points."""
    return [np.array([each], dtype=np.int64) for each in points]


@pytest.mark.parametrize(
    ("to", "word"),
    [
        ((5, 0), "E"),
        ((5, 5), "NE"),
        ((0, 5), "N"),
        ((-5, 5), "NW"),
        ((-5, 0), "W"),
        ((-5, -5), "SW"),
        ((0, -5), "S"),
        ((5, -5), "SE"),
        ((0, 0), "N"),
        ((1000, 414), "E"),
        ((1000, 415), "NE"),
        ((-1000, -414), "W"),
        ((-1000, -415), "SW"),
    ],
)
def test_a_direction_is_the_middle_of_its_45_degrees(to, word):
    assert DIRECTIONS[direction(*at((0, 0), to))[0]] == word


@given(point, point)
def test_the_way_back_is_the_opposite_direction(a, b):
    there, back = direction(*at(a, b)), direction(*at(b, a))
    assert (back - there) % 8 == (4 if a != b else 0)


@pytest.mark.parametrize(
    ("a", "b", "c", "degrees"),
    [
        ((1, 0), (0, 0), (0, 7), 90),
        ((1, 0), (0, 0), (-4, 0), 180),
        ((1, 0), (0, 0), (3, 0), 0),
        ((1, 0), (0, 0), (3, 3), 45),
        ((0, 0), (0, 0), (3, 3), 0),
        ((1, 1), (3, 3), (3, 3), 0),
        ((2, 2), (3, 3), (2, 2), 0),
    ],
)
def test_the_angle_is_that_at_the_second_point(a, b, c, degrees):
    assert angle_at_middle(*at(a, b, c)) == pytest.approx(degrees, abs=1e-5)


@given(point, point, point)
def test_angles_of_a_triangle_add_up_to_180(a, b, c):
    if len({a, b, c}) == 3:
        total = sum(angle_at_middle(*at(*corners)) for corners in ((a, b, c), (b, c, a), (c, a, b)))
        assert total == pytest.approx(180, abs=1e-4)


@given(point, point, point)
def test_the_area_is_that_of_shapely(a, b, c):
    area = MultiPoint([a, b, c]).convex_hull.area
    assert triangle_area(*at(a, b, c)) == pytest.approx(area, abs=1e-9)


@given(point, point, point, point)
def test_segments_cross_where_shapely_says_so(a, b, c, d):
    one, other = LineString([a, b]), LineString([c, d])
    ends = ((one, c), (one, d), (other, a), (other, b))
    if not any(line.covers(Point(end)) for line, end in ends):
        assert segments_cross(*at(a, b, c, d))[0] == one.intersects(other)


@given(st.lists(point, min_size=4, max_size=4), st.integers(-3, 3), st.integers(-3, 3))
def test_segments_on_one_line_never_cross(points, across, up):
    steps = [number for number, _ in points]
    assert not segments_cross(*at(*[(step * across, step * up) for step in steps]))


@given(point, st.lists(point, min_size=1, max_size=7))
def test_a_point_is_in_the_hull_where_shapely_says_so(inner, corners):
    hull = MultiPoint(corners).convex_hull
    expected = hull.geom_type == "Polygon" and hull.covers(Point(inner))
    assert in_hull(*at(inner, corners)) == expected


@pytest.mark.parametrize(
    ("inner", "expected"), [((2, 0), True), ((0, 0), True), ((2, 2), True), ((2, -1), False)]
)
def test_the_edge_of_a_hull_is_inside(inner, expected):
    assert in_hull(*at(inner, [(0, 0), (4, 0), (4, 4), (0, 4)])) == expected


def test_points_in_line_have_no_hull():
    assert not in_hull(*at((1, 1), [(0, 0), (1, 1), (2, 2), (3, 3), (3, 3)]))


@given(st.lists(point, min_size=2, max_size=6))
def test_the_perimeter_is_the_way_round_and_for_two_the_way_there(points):
    onward = sum(math.dist(*each) for each in pairwise(points))
    back = math.dist(points[-1], points[0]) if len(points) > 2 else 0
    assert perimeter(*at(points)) == pytest.approx(onward + back)


def test_the_first_of_those_nearest_to_the_mean_is_taken():
    listed = np.array([[(0, 0), (10, 0)], [(10, 0), (0, 0)]])
    assert nearest_to_mean(listed, listed).tolist() == [0, 0]
    candidates = np.array([[(9, 0), (6, 0), (4, 0), (5, 1), (5, -1)]])
    assert nearest_to_mean(listed, candidates).tolist() == [1, 1]


def test_geometry_takes_many_questions_at_once():
    random = np.random.default_rng(0)
    a, b, c, d = random.integers(-50, 50, size=(4, 30, 2))
    for function, points in (
        (distance, (a, b)),
        (direction, (a, b)),
        (triangle_area, (a, b, c)),
        (angle_at_middle, (a, b, c)),
        (segments_cross, (a, b, c, d)),
    ):
        together = function(*points)
        assert together.shape == (30,)
        one_by_one = [function(*at(*each))[0] for each in zip(*points, strict=True)]
        assert np.array_equal(together, one_by_one)
