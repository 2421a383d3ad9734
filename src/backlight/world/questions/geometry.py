"""Plane geometry of cities: whole numbers in, exact wherever an answer is yes or no.

A point is a pair of whole numbers, in 0.1 degree of longitude and latitude; the map is flat.
Every function takes arrays of points, one for each question, and returns an array of results.

Coordinates are at most 3600 apart, so that products of two differences fit into 64 bits with room
to spare: areas, sides of a line and squared distances are exact.
"""

import math
from itertools import combinations

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from backlight.world.cities import Cities

DIRECTIONS = ("E", "NE", "N", "NW", "W", "SW", "S", "SE")
"""Eight directions counter-clockwise from east; each is the middle of its 45 degrees."""

FARTHEST = math.hypot(3600, 1800)
"""The largest distance on the map, in 0.1 degree."""

Points = Int64[np.ndarray, "*#questions 2"]
Lists = Int64[np.ndarray, "*#questions _ 2"]
Integers, Numbers, Truths = NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]


def points_of(cities: Cities) -> Int64[np.ndarray, "cities 2"]:
    """Return where the cities are, a row for each."""
    return np.stack([cities.x, cities.y], axis=-1)


def squared_distance(a: Points, b: Points) -> Integers:
    """Return the square of the distance from ``a`` to ``b``, exactly."""
    step = b - a
    return step[..., 0] * step[..., 0] + step[..., 1] * step[..., 1]


def distance(a: Points, b: Points) -> Numbers:
    """Return the distance from ``a`` to ``b``, in 0.1 degree."""
    return np.sqrt(squared_distance(a, b).astype(np.float64))


def triangle_area(a: Points, b: Points, c: Points) -> Numbers:
    """Return the area of triangles, in 0.01 square degree; zero if the corners are in line."""
    return 0.5 * np.abs(_orientation(a, b, c))


def angle_at_middle(a: Points, b: Points, c: Points) -> Numbers:
    """Return the angle at ``b``, in degrees from 0 to 180; zero if a side has no length."""
    to_a, to_c = (a - b).astype(np.float64), (c - b).astype(np.float64)
    sides = np.hypot(to_a[..., 0], to_a[..., 1]) * np.hypot(to_c[..., 0], to_c[..., 1])
    along = np.sum(to_a * to_c, axis=-1)
    cosine = np.divide(along, sides, out=np.ones_like(sides), where=sides > 0)
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def direction(a: Points, b: Points) -> Integers:
    """Return which of ``DIRECTIONS`` ``b`` lies in, seen from ``a``; north at the same place."""
    step = b - a
    degrees = np.degrees(np.arctan2(step[..., 1], step[..., 0]))
    sector = np.rint(degrees / 45).astype(np.int64) % 8
    return np.where((step == 0).all(axis=-1), DIRECTIONS.index("N"), sector)


def segments_cross(a: Points, b: Points, c: Points, d: Points) -> Truths:
    """Decide whether the segments from ``a`` to ``b`` and from ``c`` to ``d`` cross.

    Each segment must have the ends of the other on both sides of it, where being on the line
    counts as being on its right. So segments that only touch cross or do not, as they happen to
    be turned; segments on one line never do.

    Returns:
        Whether they cross.
    """
    ends_of_ab = (_orientation(a, c, d) > 0) != (_orientation(b, c, d) > 0)
    ends_of_cd = (_orientation(a, b, c) > 0) != (_orientation(a, b, d) > 0)
    return ends_of_ab & ends_of_cd


def in_hull(point: Points, corners: Lists) -> Truths:
    """Decide whether points lie in the convex hull of others, or on its edge.

    A point is in the hull if it is in a triangle of three corners (Caratheodory), which whole
    numbers decide exactly. Corners that are all in line have no hull: nothing is inside.

    Returns:
        Whether each point is inside.
    """
    inside = np.zeros(point.shape[:-1], dtype=np.bool_)
    for i, j, k in combinations(range(corners.shape[-2]), 3):
        a, b, c = corners[..., i, :], corners[..., j, :], corners[..., k, :]
        turn = np.sign(_orientation(a, b, c))
        sides = [_orientation(*edge, point) * turn >= 0 for edge in ((a, b), (b, c), (c, a))]
        inside |= (turn != 0) & sides[0] & sides[1] & sides[2]
    return inside


def perimeter(corners: Lists) -> Numbers:
    """Return the length of closed polygons in the order given; two corners: their distance."""
    onward = distance(corners[..., :-1, :], corners[..., 1:, :]).sum(axis=-1)
    if corners.shape[-2] == 2:
        return onward
    return onward + distance(corners[..., -1, :], corners[..., 0, :])


def nearest_to_mean(listed: Lists, candidates: Lists) -> Integers:
    """Find the candidate nearest to the mean of the points listed; the first, if several are.

    Distances are compared in whole numbers (times the number listed), so ties are exact.

    Returns:
        Its place among the candidates.
    """
    num = listed.shape[-2]
    total = listed.sum(axis=-2, keepdims=True)
    return np.argmin(squared_distance(total, candidates * num), axis=-1)


def _orientation(a: Points, b: Points, c: Points) -> Integers:
    """Twice the signed area of a triangle: positive if it turns counter-clockwise."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (
        c[..., 0] - a[..., 0]
    )
