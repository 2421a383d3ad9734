"""What the page of a tokens run shows: the numbers of its tables and arrays."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from backlight import load_results, tokens
from backlight.report.page.document import document
from backlight.report.page.views import CellMap, Lines, Page, Rows, Scatter
from backlight.surveys.tokens.page import views
from zoo.token_results import CITY, token_results

PLACES = (*CITY, ("answer", "X"))
STRUCTURAL, ZERO, ABSENT = 1, 2, 3
MEASURES = ("gradient_norm", "grad_x_act", "activation_norm")


@cache
def usual():
    """The usual run with what its page shows, which tests only look at."""
    results = token_results(num_prompts=12)
    return results, list(views(results))


def of_kind(found, kind, title=""):
    return [view for view in found if isinstance(view, kind) and title in view.title]


def heat_maps(found):
    return of_kind(found, CellMap, "Where the gradient is")


def shown_of(**options):
    results = token_results(**options)
    return results, list(views(results))


def rendered(found):
    return document(Page(title="x", summary=[], views=found))


def select(table, **wanted):
    keep = np.ones(table.num_rows, bool)
    for name, value in wanted.items():
        keep &= table[name] == value
    return table.select(keep)


def test_the_page_begins_with_the_map_and_ends_with_the_prompts():
    found = usual()[1]

    assert isinstance(found[0], CellMap)
    assert isinstance(found[-1], Rows)
    assert found[-1].title == "Prompts"
    assert b"generator" in rendered(found)[:1000]


@pytest.mark.parametrize("measure", MEASURES)
def test_means_and_errors_are_those_of_the_table(measure):
    results, found = usual()
    (heat,) = heat_maps(found)
    cells = heat.maps[0, MEASURES.index(measure), 0]

    for row, layer in enumerate(heat.rows):
        own = select(results.tables["positions"], layer=float(layer))
        np.testing.assert_array_equal(cells.values[row], own[measure])
        np.testing.assert_array_equal(cells.errors[row], own[f"{measure}_se"])
    assert cells.columns == [token for _, token in PLACES]
    assert cells.names == [name for name, _ in PLACES]
    assert heat.rows == ["0", "1", "2"]


@pytest.mark.parametrize("measure", MEASURES)
def test_each_prompt_can_be_stepped_to(measure):
    results, found = usual()
    (heat,) = heat_maps(found)

    options = heat.choices[2].options
    assert options[0] == "mean over 12 prompts"
    assert options[4] == "3: dist 3 $x_3$ = → 3"
    for prompt in range(12):
        cells = heat.maps[0, MEASURES.index(measure), prompt + 1]
        for row, layer in enumerate(heat.rows):
            array = results.data[f"layers.{layer}.resid.post/{measure}"]
            np.testing.assert_array_equal(cells.values[row], array[prompt, 0])


def test_zeros_of_causality_are_marked_in_means_and_prompts_but_not_activations():
    (heat,) = heat_maps(usual()[1])

    for prompt in (0, 5):
        for measure in (0, 1):
            marks = heat.maps[0, measure, prompt].marks
            assert (marks[-1, :-2] == STRUCTURAL).all()
            assert not marks[:-1, :-1].any()
            assert marks[-1, -2] == 0
            assert (marks[:, -1] == STRUCTURAL).all()  # the answer's last token
        assert heat.maps[0, 2, prompt].marks is None
    assert heat.reasons[STRUCTURAL - 1] == "zero by causality"
    assert "Hatched: zero by causality" in heat.note


def test_a_zero_that_could_be_another_value_has_its_own_mark():
    results = token_results(unreachable=np.zeros((3, len(CITY)), bool))
    results.data["layers.1.resid.post/gradient_norm"][2, 0, 4] = 0.0

    (heat,) = heat_maps(list(views(results)))

    assert heat.maps[0, 0, 3].marks[1, 4] == ZERO
    assert heat.maps[0, 0, 3].marks[:, :-1].sum() == ZERO
    assert heat.reasons[ZERO - 1] == "measured as exactly zero"


def test_a_token_that_a_prompt_lacks_is_marked_and_counted():
    _, found = shown_of(missing=("comma",))
    (heat,) = heat_maps(found)
    column = [name for name, _ in CITY].index("comma")

    assert heat.maps[0, 2, 1].marks is None
    assert (heat.maps[0, 0, 2].marks[:, column] == ABSENT).all()
    assert (heat.maps[0, 2, 2].marks[:, column] == ABSENT).all()
    assert heat.maps[0, 0, 0].names[column] == "comma, in 1 prompts"
    assert "Only some prompts have these positions (so many): comma (1)." in heat.note


def test_single_prompts_have_their_own_tokens_with_blanks_that_can_be_seen():
    results = token_results(num_prompts=3)
    own = np.array([[f" {prompt}{column}" for column in range(9)] for prompt in range(3)])
    own[1, 2] = ""
    results.data["tokens"] = own

    (heat,) = heat_maps(list(views(results)))

    assert heat.maps[0, 0, 1].columns == [f"·0{column}" for column in range(9)]
    assert heat.maps[0, 0, 2].columns[2] == "("
    assert heat.maps[0, 0, 0].columns == [token for _, token in PLACES]


def test_heads_are_maps_of_their_own():
    results, found = shown_of(
        sites=("layers.0.attn.q", "layers.1.attn.q"), num_heads=2, num_prompts=4
    )
    (heat,) = heat_maps(found)

    assert heat.choices[0].options == ["attn.q", "attn.q, head 0", "attn.q, head 1"]
    array = results.data["layers.1.attn.q/gradient_norm"]
    np.testing.assert_array_equal(heat.maps[2, 0, 3].values[1], array[2, 2])
    means = select(results.tables["positions"], layer=1.0, head=1.0)["gradient_norm"]
    np.testing.assert_array_equal(heat.maps[2, 0, 0].values[1], means)


def test_kinds_with_other_layers_are_maps_of_their_own():
    _, found = shown_of(sites=("layers.0.resid.post", "layers.0.mlp.out", "embed.out"))
    first, second = heat_maps(found)

    assert first.choices[0].options == ["resid.post", "mlp.out"]
    assert first.title.endswith(": resid.post, mlp.out")
    assert (second.rows, second.row_label) == (["embed.out"], "site")


def test_many_prompts_are_shown_in_part_and_the_note_says_so():
    results, found = shown_of(num_prompts=210, sites=("layers.0.resid.post",), targets=("equals",))
    (heat,) = heat_maps(found)

    assert len(heat.choices[2].options) == 101
    assert len(heat.maps) == 3 * 101
    assert "The first 100 of 210 prompts" in heat.note
    assert results.tables["prompts"].num_rows == 210


def test_heads_of_single_prompts_are_left_out_where_they_would_fill_a_page():
    _, found = shown_of(
        sites=tuple(f"layers.{layer}.attn.q" for layer in range(12)),
        positions=tuple((f"place_{column}", "x") for column in range(40)),
        targets=("place_39",),
        num_prompts=40,
        num_heads=8,
        unreachable=np.zeros((12, 40), bool),
    )
    (heat,) = heat_maps(found)

    assert (0, 0, 40) in heat.maps
    assert (1, 0, 0) in heat.maps
    assert (1, 0, 1) not in heat.maps
    assert "Single heads are shown as means only" in heat.note
    assert len(rendered(found)) < 5e6


def test_norms_along_layers_have_bands_and_leave_out_what_is_structural():
    results, found = usual()
    (lines,) = of_kind(found, Lines, "From layer to layer")
    (chart,) = lines.charts
    own = select(results.tables["positions"], position="equals")

    series = next(each for each in chart.series if each.name == "equals")
    np.testing.assert_array_equal(series.y, own["gradient_norm"])
    np.testing.assert_allclose(series.high - series.y, 1.96 * own["gradient_norm_se"])
    other = next(each for each in chart.series if each.name != "equals")
    assert np.isnan(other.y[-1])
    assert len(chart.series) == 6


def test_norms_along_the_prompt_are_at_its_tokens():
    results, found = usual()
    (lines,) = of_kind(found, Lines, "Along the prompt")
    (chart,) = lines.charts

    assert chart.categories == [token for _, token in PLACES]
    own = select(results.tables["positions"], layer=1.0)["gradient_norm"]
    np.testing.assert_array_equal(chart.series[1].y[:-1], own[:-1])
    assert np.isnan(chart.series[1].y[-1])  # zero by causality
    assert [series.name for series in chart.series] == ["layer 0", "layer 1", "layer 2"]


def test_points_are_the_scores_of_prompts():
    results, found = usual()
    (scatter,) = of_kind(found, Scatter)

    assert scatter.choices[0].options == [f"resid.post of layer {layer}" for layer in range(3)]
    assert scatter.choices[1].options == ["comma", "equals"]
    scores = results.data["layers.1.resid.post/equals/scores"]
    shares = results.data["layers.1.resid.post/equals/explained"]
    for number, (x, y) in enumerate(((0, 1), (0, 2), (1, 2))):
        plane = scatter.planes[1, 1, number]
        assert scatter.choices[2].options[number] == f"PC{x + 1} and PC{y + 1}"
        np.testing.assert_array_equal(plane.x, scores[:, x])
        np.testing.assert_array_equal(plane.y, scores[:, y])
        assert plane.y_label == f"PC{y + 1} ({100 * shares[y]:.1f} % of variance)"
    assert scatter.texts[4] == "4: dist 4 $x_4$ = → 4"
    assert (2, 0, 0) not in scatter.planes  # structural


def test_norms_are_shown_against_the_answer_and_the_loss():
    results, found = usual()
    (scatter,) = of_kind(found, Scatter)
    norms = results.data["layers.0.resid.post/gradient_norm"][:, 0, 5]
    prompts = results.tables["prompts"]

    assert scatter.choices[2].options[3:] == ["norm against answer", "norm against loss"]
    for number, name in ((3, "answer_value"), (4, "loss")):
        plane = scatter.planes[0, 0, number]
        np.testing.assert_array_equal(plane.x, prompts[name])
        np.testing.assert_array_equal(plane.y, norms)
        correlation = np.corrcoef(prompts[name], norms)[0, 1]
        assert f"r = {correlation:.2f}, n = 12" in plane.x_label


def test_only_prompts_that_have_a_position_are_points_of_it():
    columns = {"right": np.array([1, 0] * 6)}
    results, found = shown_of(missing=("comma",), columns=columns)
    (scatter,) = of_kind(found, Scatter)

    assert scatter.planes[0, 0, 3].points.tolist() == [0]
    assert (0, 0, 0) not in scatter.planes
    np.testing.assert_array_equal(
        scatter.planes[0, 1, 0].points, results.data["layers.0.resid.post/equals/prompts"]
    )


def test_points_are_coloured_by_what_differs_and_first_by_what_was_asked():
    columns = {
        "right": np.array([1, 0] * 6),
        "region": np.array(["Asia", "Africa"] * 6),
        "same": np.full(12, 3.0),
        "word": np.array([f"word {number}" for number in range(12)]),
        "split": np.array(["", "test"] * 6),
    }
    _, found = shown_of(columns=columns, color_by="region")
    (scatter,) = of_kind(found, Scatter)
    colourings = {each.label: each.values for each in scatter.colourings}

    assert list(colourings) == ["region", "loss (nats/token)", "answer", "right", "split"]
    assert colourings["region"] == ["Asia", "Africa"] * 6
    assert colourings["right"] == ["yes", "no"] * 6
    assert colourings["split"][0] == "(none)"
    assert colourings["answer"][3] == 30.0


def test_very_many_prompts_are_told_in_part():
    _, found = shown_of(num_prompts=2100, targets=[name for name, _ in CITY])
    (scatter,) = of_kind(found, Scatter)
    (prompts,) = of_kind(found, Rows, "Prompts")

    count = len(scatter.texts)
    assert 100 < count < 2100
    assert f"The first {count:,} of 2,100 prompts are shown." in scatter.note
    assert all(plane.points.max() < count for plane in scatter.planes.values())
    assert all(len(colouring.values) == count for colouring in scatter.colourings)
    assert prompts.table.num_rows == 2000
    assert "The first 2,000 of 2,100" in prompts.note
    assert len(rendered(found)) < 5e6


def test_shapes_and_shares_are_those_of_table_and_arrays():
    results, found = usual()
    (shapes,) = of_kind(found, Lines, "Shape of the cloud")
    (sums,) = of_kind(found, Lines, "principal components explain")
    own = select(results.tables["geometry"], position="equals")

    series = next(each for each in shapes.charts[2].series if each.name == "equals")
    np.testing.assert_array_equal(series.y, 100 * own["pc1"])
    chart = next(each for each in sums.charts if each.title == "equals")
    shares = results.data["layers.1.resid.post/equals/explained"]
    np.testing.assert_allclose(chart.series[1].y, 100 * np.cumsum(shares)[: len(chart.series[1].y)])
    assert chart.series[1].y[-1] >= 99.9
    assert [each.name for each in chart.series] == ["layer 0", "layer 1", "layer 2"]


def test_angles_are_sorted_by_the_answer():
    results = token_results(num_prompts=6)
    backwards = replace(
        results.tables["prompts"],
        columns={**results.tables["prompts"].columns, "answer_value": np.arange(6.0)[::-1]},
    )
    results = replace(results, tables={**results.tables, "prompts": backwards})

    (angles,) = of_kind(list(views(results)), CellMap, "Angles")

    cosines = results.data["layers.0.resid.post/comma/cosines"]
    cells = angles.maps[0,]
    np.testing.assert_allclose(cells.values, cosines[::-1, ::-1])
    assert angles.rows == [f"{prompt}: {prompt}" for prompt in range(6)][::-1]
    assert cells.marks is None


def test_angles_are_named_by_the_word_that_they_are_sorted_by():
    columns = {"region": np.array(["b", "a", "c", "a"])}
    _, found = shown_of(num_prompts=4, columns=columns, color_by="region")

    (angles,) = of_kind(found, CellMap, "Angles")

    assert angles.rows == ["1: a", "3: a", "0: b", "2: c"]
    assert "sorted by region, which" in angles.note


def test_angles_between_prompts_of_which_one_lacks_the_position_are_not_known():
    results = token_results(num_prompts=4, targets=("equals",))
    target = "layers.0.resid.post/equals"
    results.data[f"{target}/prompts"] = np.array([0, 1, 3])
    for name in ("scores", "cosines"):
        results.data[f"{target}/{name}"] = results.data[f"{target}/{name}"][:3, :3]

    (angles,) = of_kind(list(views(results)), CellMap, "Angles")

    marks = angles.maps[0,].marks
    assert marks[2].all()
    assert marks[:, 2].all()
    assert marks.sum() == 7


def test_places_are_sorted_by_their_gradients():
    results, found = usual()
    (rows,) = of_kind(found, Rows, "Places")
    norms = rows.table["gradient_norm"]

    assert (np.diff(norms) <= 0).all()
    assert norms[0] == results.tables["positions"]["gradient_norm"].max()
    assert rows.columns["gradient_norm"] == "gradient norm (nats/unit)"


@pytest.mark.parametrize(
    "options",
    [
        {"num_prompts": 1},
        {"num_prompts": 2},
        {"sites": ("layers.3.resid.post",)},
        {"sites": ("embed.out",)},
        {"positions": (("equals", "="),), "targets": ("equals",)},
        {"unreachable": np.ones((3, len(CITY)), bool), "targets": ("comma",)},
        {"color_by": None},
    ],
    ids=lambda options: "-".join(options),
)
def test_extreme_runs_have_a_page(options):
    results, found = shown_of(**options)

    assert len(heat_maps(found)) == 1
    assert len(rendered(found)) > 10_000
    alone = results.tables["geometry"]["site"][0].startswith("embed")
    assert bool(of_kind(found, Lines, "From layer")) == (
        len(np.unique(results.tables["positions"]["site"])) > 1 and not alone
    )


def test_where_nothing_reaches_the_objective_there_are_no_clouds():
    _, found = shown_of(unreachable=np.ones((3, len(CITY)), bool), targets=("comma",))

    assert not of_kind(found, Scatter)
    assert not of_kind(found, CellMap, "Angles")
    (heat,) = heat_maps(found)
    assert (heat.maps[0, 0, 0].marks == STRUCTURAL).all()


def test_a_run_read_from_disk_has_the_same_page(model_folder, tmp_path):
    fresh = tokens(
        model_name=str(model_folder),
        device="cpu",
        template="The {thing} of the {place} comes",
        fields={"thing": ["light", "a gradient", "every word"], "place": ["model", "layer", "up"]},
        answer=" back",
        sites="resid.post,attn.q",
        figures="none",
        output_dir=tmp_path / "run",
    )
    read = load_results(tmp_path / "run")

    assert rendered(list(views(fresh))) == rendered(list(views(read)))
    (heat,) = heat_maps(list(views(read)))
    assert [token.replace("·", "") for token in heat.maps[0, 0, 1].columns if "of" in token] == [
        "of"
    ]
