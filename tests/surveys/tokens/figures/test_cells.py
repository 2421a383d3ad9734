import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.figure import Figure

from backlight.report.colours import of_sizes
from backlight.surveys.tokens.figures.cells import (
    ABSENT,
    STRUCTURAL,
    ZERO,
    Cells,
    draw_cells,
    samples_of,
)

VALUES = np.array([[0.1, 2.0, 0.0, np.nan], [0.0, 0.0, 0.0, 5.0]])
BLOCKED = np.array([[False, False, False, True], [True, True, False, False]])


def cells(values=VALUES, structural=BLOCKED, tokens=("a", "$x_1$", " b\n", ","), **names):
    return Cells(
        values=values,
        structural=structural,
        rows=[str(row) for row in range(len(values))],
        tokens=list(tokens),
        positions=list(names.get("positions", ["a", "formula", "b", "comma"])),
    )


def drawn(grid, **options):
    axes = Figure(figsize=(8, 4)).subplots()
    norm = of_sizes(grid.values[grid.coloured], decades=6)
    draw_cells(axes, grid, None if norm is None else ScalarMappable(norm), **options)
    return axes


def squares(axes, gid):
    """The (row, column) of each square of a collection."""
    found = [each for each in axes.collections if each.get_gid() == gid]
    middles = [path.vertices[:4].mean(axis=0) for each in found for path in each.get_paths()]
    return {(round(y), round(x)) for x, y in middles}


def coloured(axes):
    (mesh,) = [each for each in axes.collections if isinstance(each, QuadMesh)]
    return {tuple(place) for place in np.argwhere(~np.ma.getmaskarray(mesh.get_array())).tolist()}


def test_hatched_cells_are_exactly_those_that_causality_makes_zero():
    assert squares(drawn(cells()), STRUCTURAL) == {(1, 0), (1, 1)}


def test_a_zero_is_never_coloured():
    axes = drawn(cells())

    assert coloured(axes) == {(0, 0), (0, 1), (1, 3)}
    assert squares(axes, ZERO) == {(0, 2), (1, 2)}


def test_a_cell_without_a_token_is_neither_zero_nor_structural():
    assert squares(drawn(cells()), ABSENT) == {(0, 3)}


def test_each_cell_is_drawn_in_one_way_only():
    axes = drawn(cells())
    ways = [coloured(axes), *(squares(axes, gid) for gid in (STRUCTURAL, ZERO, ABSENT))]

    assert sum(map(len, ways)) == VALUES.size
    assert len(set().union(*ways)) == VALUES.size


def test_structural_cells_are_hatched_and_plain_zeros_are_not():
    axes = drawn(cells())
    hatches = {
        each.get_gid(): each.get_hatch()
        for each in axes.collections
        if isinstance(each, PolyCollection)
    }

    assert hatches[STRUCTURAL]
    assert not hatches[ZERO]


def test_a_zero_that_is_structural_stays_so_even_if_all_cells_are():
    axes = drawn(cells(np.zeros((2, 4)), np.ones((2, 4), bool)))

    assert len(squares(axes, STRUCTURAL)) == 8
    assert not [each for each in axes.collections if isinstance(each, QuadMesh)]


def test_the_legend_names_only_what_occurs():
    plain = cells(np.ones((2, 4)), np.zeros((2, 4), bool))

    assert samples_of([plain]) == []
    assert [name for _, name in samples_of([plain, cells()])] == [
        "zero by causality",
        "measured as exactly zero",
        "no such token in this prompt",
    ]


def test_the_first_layer_is_at_the_bottom():
    axes = drawn(cells())

    assert axes.get_ylim() == (-0.5, 1.5)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1"]


def test_labels_are_the_tokens_with_blanks_that_can_be_seen_and_no_formulas():
    labels = drawn(cells()).get_xticklabels()

    assert [label.get_text() for label in labels] == ["a", "$x_1$", "·b\\n", ","]
    assert not any(label.get_parse_math() for label in labels)


def test_names_of_positions_stand_above():
    (above,) = drawn(cells()).child_axes

    names = [label.get_text() for label in above.get_xticklabels()]
    assert names == ["a", "formula", "b", "comma"]


def test_positions_need_not_be_named():
    assert drawn(cells(), positions=False).child_axes == []


def test_names_are_thinned_out_where_they_would_cover_each_other():
    count = 200
    grid = cells(
        np.ones((1, count)),
        np.zeros((1, count), bool),
        tokens=["x"] * count,
        positions=[f"p{place}" for place in range(count)],
    )

    ticks = drawn(grid).get_xticks()

    assert len(ticks) < 60
    assert len(set(np.diff(ticks))) == 1


def test_a_dotted_line_follows_brackets_and_commas_and_goes_around_long_fields():
    names = ["open_paren", "a", "comma", "city_first", "city_last", "end"]
    grid = cells(
        np.ones((1, 6)),
        np.zeros((1, 6), bool),
        tokens=["(", "a", ",", "city first", "city last", "end"],
        positions=names,
    )

    lines = sorted(line.get_xdata()[0] for line in drawn(grid).lines)

    assert lines == [0.5, 2.5, 4.5]
