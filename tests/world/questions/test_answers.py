"""Every answer is checked from the text alone, by other means than those that made it."""

import cmath
import math
import re
from collections import Counter
from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy.spatial import ConvexHull, Delaunay, QhullError
from shapely import LinearRing, LineString, MultiPoint, Point

from backlight.world.questions.catalogue import TASKS

NUM = 1000
CITY = r"c_\d{4}"
NUMBER = r"(?:0|[1-9]\d*)"
GRAMMAR = {
    "distance": rf"dist\({CITY},{CITY}\)={NUMBER}",
    "trianglearea": rf"triarea\({CITY}(,{CITY}){{2}}\)={NUMBER}",
    "angle": rf"angle\({CITY}(,{CITY}){{2}}\)={NUMBER}",
    "compass": rf"compass\({CITY},{CITY}\)=(E|NE|N|NW|W|SW|S|SE)",
    "crossing": rf"cross\({CITY},{CITY};{CITY},{CITY}\)=(TRUE|FALSE)",
    "inside": rf"inside\({CITY};{CITY}(,{CITY}){{2,4}}\)=(TRUE|FALSE)",
    "perimeter": rf"perimeter\({CITY}(,{CITY}){{1,4}}\)={NUMBER}",
    "nearest_neighbor": rf"nearest\({CITY},[1-5]\)={CITY}(,{CITY}){{0,4}}",
    "randomwalk": rf"rw\({NUMBER},{NUMBER}\)={CITY}(,{CITY}){{4,19}}",
    "center": rf"center\({CITY}(,{CITY}){{0,4}};in=(TRUE|FALSE)\)={CITY}",
    "circlecount": rf"circlecount\({CITY},r={NUMBER}\)={NUMBER}",
    "randring": rf"randring\({CITY},r={NUMBER},R={NUMBER},n={NUMBER}\)=({CITY}(,{CITY})*)?",
}


class Atlas:
    """The table of cities, by id."""

    def __init__(self, cities):
        self.ids = cities.city_ids.tolist()
        self.table = np.stack([cities.x, cities.y], axis=1).astype(float)
        self.points = {
            city: (int(x), int(y)) for city, (x, y) in zip(self.ids, self.table, strict=True)
        }

    def distances_from(self, point):
        """How far each city is, in the order of the table."""
        return np.sqrt(((self.table - point) ** 2).sum(axis=1))

    def others_from(self, center):
        """The same, where the center itself is nowhere near."""
        away = self.distances_from(self.points[center])
        away[self.ids.index(center)] = np.inf
        return away


def ids(text):
    return [int(found) for found in re.findall(r"c_(\d{4})", text)]


def turn(a, b, c):
    return (c[1] - a[1]) * (b[0] - a[0]) - (b[1] - a[1]) * (c[0] - a[0])


def check_distance(atlas, asked, answer):
    one, other = ids(asked)
    assert one != other
    assert int(answer) == round(math.dist(atlas.points[one], atlas.points[other]))


def check_trianglearea(atlas, asked, answer):
    assert len({*ids(asked)}) == 3
    a, b, c = (atlas.points[city] for city in ids(asked))
    assert int(answer) == round(Fraction(abs(turn(a, b, c)), 2))  # halves to even


def check_angle(atlas, asked, answer):
    assert len({*ids(asked)}) == 3
    a, b, c = (complex(*atlas.points[city]) for city in ids(asked))
    degrees = math.degrees(abs(cmath.phase((a - b) * (c - b).conjugate())))
    assert int(answer) == (0 if b in {a, c} else round(degrees))


def check_compass(atlas, asked, answer):
    one, other = ids(asked)
    assert one != other
    (x1, y1), (x2, y2) = atlas.points[one], atlas.points[other]
    east, north = x2 - x1, y2 - y1
    bend = math.sqrt(2) - 1  # the tangent of 22.5 degrees
    word = "" if abs(north) < bend * abs(east) else "N" if north > 0 else "S"
    word += "" if abs(east) < bend * abs(north) else "E" if east > 0 else "W"
    assert answer == (word if (east, north) != (0, 0) else "N")


def check_crossing(atlas, asked, answer):
    assert len({*ids(asked)}) == 4
    a, b, c, d = (atlas.points[city] for city in ids(asked))
    truth = (turn(a, c, d) > 0) != (turn(b, c, d) > 0) and (turn(a, b, c) > 0) != (
        turn(a, b, d) > 0
    )
    if all(turn(*corners) for corners in combinations((a, b, c, d), 3)):
        assert truth == LineString([a, b]).crosses(LineString([c, d]))
    assert (answer == "TRUE") == truth


def check_inside(atlas, asked, answer):
    point, *corners = (atlas.points[city] for city in ids(asked))
    assert len({*ids(asked)}) == 1 + len(corners)
    hull = MultiPoint(corners).convex_hull
    truth = hull.geom_type == "Polygon" and hull.covers(Point(point))
    assert (answer == "TRUE") == truth
    assert truth == in_hull_of_qhull(point, corners)


def in_hull_of_qhull(point, corners):
    try:
        corners = np.array(corners, dtype=float)
        hull = Delaunay(corners[ConvexHull(corners).vertices])
    except QhullError:
        return False
    return bool(hull.find_simplex(point) >= 0)


def check_perimeter(atlas, asked, answer):
    assert len({*ids(asked)}) == len(ids(asked))
    points = [atlas.points[city] for city in ids(asked)]
    length = math.dist(*points) if len(points) == 2 else LinearRing(points).length
    assert int(answer) == round(length)


def check_nearest_neighbor(atlas, asked, answer):
    [center] = ids(asked)
    k = int(re.search(r",(\d+)\)", asked)[1])
    order = np.argsort(atlas.others_from(center), kind="stable")
    assert ids(answer) == [atlas.ids[row] for row in order[:k]]


def check_randomwalk(atlas, asked, answer):
    max_step, length = map(int, re.findall(r"\d+", asked))
    assert 50 <= max_step <= 500
    assert 5 <= length <= 20
    assert len(ids(answer)) == length
    for one, other in pairwise(ids(answer)):
        assert one != other
        assert math.dist(atlas.points[one], atlas.points[other]) <= max_step


def check_center(atlas, asked, answer):
    listed = ids(asked)
    assert len({*listed}) == len(listed)
    mean = [
        Fraction(sum(axis), len(axis)) for axis in zip(*map(atlas.points.get, listed), strict=True)
    ]
    eligible = listed
    if "in=FALSE" in asked:  # fractions are slow: only cities that may be nearest are compared
        away = atlas.distances_from([float(number) for number in mean])
        eligible = [atlas.ids[row] for row in np.flatnonzero(away <= away.min() + 1e-3)]

    def square(city):
        return sum((one - other) ** 2 for one, other in zip(atlas.points[city], mean, strict=True))

    assert int(answer[2:]) == min(eligible, key=square)


def check_circlecount(atlas, asked, answer):
    [center] = ids(asked)
    radius = int(re.search(r"r=(\d+)", asked)[1])
    assert 5 <= radius <= 200
    assert int(answer) == np.count_nonzero(atlas.others_from(center) <= radius)


def check_randring(atlas, asked, answer):
    [center] = ids(asked)
    low, high, k = (int(re.search(rf"{name}=(\d+)", asked)[1]) for name in ("r", "R", "n"))
    assert 10 <= low <= 450
    assert max(50, low + 1) <= high <= 500
    assert 1 <= k <= 10
    away = atlas.others_from(center)
    ring = {atlas.ids[row] for row in np.flatnonzero((low <= away) & (away <= high))}
    assert {*ids(answer)} <= ring
    assert len({*ids(answer)}) == len(ids(answer)) == min(k, len(ring))


@pytest.mark.parametrize("task_type", TASKS)
def test_a_thousand_answers_are_right_and_written_as_they_should_be(task_type, cities):
    atlas = Atlas(cities)
    rows = list(TASKS[task_type].rows(cities, NUM, np.random.default_rng(7)))
    assert len(rows) == NUM
    for row in rows:
        assert re.fullmatch(GRAMMAR[task_type], row), row
        asked, _, answer = row.rpartition(")=")
        globals()[f"check_{task_type}"](atlas, asked + ")=", answer)


@pytest.mark.parametrize("task_type", TASKS)
def test_prompts_and_rows_are_the_same_questions(task_type, made_up):
    task = TASKS[task_type]
    prompts = task.draw(made_up, 50, np.random.default_rng(1))
    rows = task.rows(made_up, 50, np.random.default_rng(1))
    assert [prompt.text + prompt.answer for prompt in prompts] == list(rows)


@pytest.mark.parametrize("task_type", TASKS)
def test_a_seed_gives_the_same_questions_and_another_seed_others(task_type, made_up):
    task = TASKS[task_type]
    one, same, other = (task.draw(made_up, 20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.parametrize("task_type", TASKS)
def test_no_question_is_drawn_if_none_is_asked_for(task_type, made_up):
    assert TASKS[task_type].draw(made_up, 0, np.random.default_rng(1)) == []


@pytest.mark.parametrize("task_type", ["crossing", "inside"])
def test_half_of_the_answers_are_true(task_type, cities):
    rows = list(TASKS[task_type].rows(cities, NUM, np.random.default_rng(5)))
    assert sum(row.endswith("=TRUE") for row in rows) == NUM // 2
    firsts = sum(row.endswith("=TRUE") for row in rows[: NUM // 2])
    assert 0.42 * NUM / 2 < firsts < 0.58 * NUM / 2  # they are mixed


def test_half_of_the_answers_are_true_for_each_number_of_cities(cities):
    rows = list(TASKS["inside"].rows(cities, 3000, np.random.default_rng(5)))
    for size in (3, 4, 5):
        ours = [row for row in rows if len(ids(row)) == size + 1]
        assert 900 < len(ours) < 1100
        assert 0.45 < sum(row.endswith("TRUE") for row in ours) / len(ours) < 0.55


def test_half_of_the_centers_are_among_the_cities_listed(cities):
    rows = list(TASKS["center"].rows(cities, NUM, np.random.default_rng(5)))
    assert sum("in=TRUE" in row for row in rows) == NUM // 2


@pytest.mark.parametrize("task_type", ["distance", "compass"])
def test_no_pair_is_asked_twice_and_half_are_swapped(task_type, cities):
    rows = [ids(row) for row in TASKS[task_type].rows(cities, NUM, np.random.default_rng(5))]
    assert len({frozenset(pair) for pair in rows}) == NUM
    order = {city_id: row for row, city_id in enumerate(cities.city_ids.tolist())}
    assert 0.45 < sum(order[one] < order[other] for one, other in rows) / NUM < 0.55


def test_all_sizes_and_numbers_come_about_equally_often(made_up):
    random = np.random.default_rng(5)

    def spread(task_type, found):
        counts = Counter(map(found, TASKS[task_type].rows(made_up, 4000, random)))
        assert max(counts.values()) < 1.35 * min(counts.values())
        return {*counts}

    assert spread("perimeter", lambda row: len(ids(row))) == {2, 3, 4, 5}
    assert spread("nearest_neighbor", lambda row: row.partition(")")[0][-1]) == {*"12345"}
    assert spread("randomwalk", lambda row: len(ids(row))) == {*range(5, 21)}
    assert spread("center", lambda row: len(ids(row)) - 1) == {1, 2, 3, 4, 5}
    assert spread("randring", lambda row: re.search(r"n=(\d+)", row)[1]) == {
        str(k) for k in range(1, 11)
    }


def test_a_query_is_never_its_own_neighbour_in_a_part_of_the_cities(shipped):
    part = shipped.take(np.arange(200, 500))
    rows = list(TASKS["nearest_neighbor"].rows(part, 500, np.random.default_rng(2)))
    known = {*part.city_ids.tolist()}
    for row in rows:
        query, *near = ids(row)
        assert query not in near
        assert {query, *near} <= known
