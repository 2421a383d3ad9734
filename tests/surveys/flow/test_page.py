"""The page of a flow run: its views hold the numbers of the tables."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from backlight.report.page.diagrams import Diagram
from backlight.report.page.document import document
from backlight.report.page.views import CellMap, Lines, Page, Prose, Rows
from backlight.surveys.flow.drawn.paths import Paths
from backlight.surveys.flow.page import views
from backlight.tables import Table
from zoo.flow_results import flow_results

SHOWN = {
    "residual": [Diagram, Lines, Lines, CellMap],
    "attention": [CellMap, CellMap],
    "norms": [Lines, Lines],
}
TABLES = {
    "residual": {"residual", "depth", "depth_by_position", "depth_slope"},
    "attention": {"attention"},
    "norms": {"norms"},
}


def shown(*names, **options):
    return list(views(flow_results(names or tuple(SHOWN), **options)))


def page_of(results):
    return document(Page(title="flow", summary=[], views=list(views(results))))


def read_again(results):
    tables = {name: Table.from_csv(name, table.to_csv()) for name, table in results.tables.items()}
    metadata = json.loads(json.dumps(results.metadata))
    return replace(results, tables=tables, metadata=metadata)


def told(diagram):
    return [shape.told for shape in diagram.shapes if shape.told]


def loops(diagram, paint):
    return [each for each in diagram.shapes if each.paint == paint and each.kind == "polygon"]


def charts(view):
    return {chart.title or chart.y: chart for chart in view.charts}


def named(chart):
    return {series.name: series for series in chart.series}


@pytest.mark.parametrize("view", SHOWN)
def test_a_run_of_one_view_shows_it_and_its_tables_and_nothing_else(view):
    found = shown(view)

    kinds = [type(each) for each in found]
    rows = [each.table.name for each in found if isinstance(each, Rows)]
    assert kinds[: len(SHOWN[view])] == SHOWN[view]
    assert set(rows) == TABLES[view]
    assert len(rows) == len(found) - len(SHOWN[view])


def test_a_run_of_all_views_begins_with_the_picture_and_ends_with_the_tables():
    found = shown()

    assert isinstance(found[0], Diagram)
    expected = [kind for view in SHOWN.values() for kind in view]
    assert [type(each) for each in found if not isinstance(each, Rows)] == expected
    assert {each.table.name for each in found if isinstance(each, Rows)} == set().union(
        *TABLES.values()
    )
    assert all(isinstance(each, Rows) for each in found[len(expected) :])


@pytest.mark.parametrize("kind", ["rms", "layer"])
@pytest.mark.parametrize("options", [{"num_layers": 1, "num_sequences": 1}, {"layers": (2,)}])
def test_a_run_that_is_read_from_disk_has_the_same_page_byte_by_byte(kind, options):
    results = flow_results(kind=kind, head_norms=("attn.q_norm",), **options)

    assert page_of(results) == page_of(read_again(results))


def test_the_picture_tells_the_numbers_of_each_branch_with_errors_and_units():
    results = flow_results(("residual",), num_layers=2)
    residual = results.tables["residual"]
    row = {name: values[2] for name, values in residual.items()}  # layer 1, attention

    (text,) = [
        text for text in told(next(views(results))) if text.startswith("Layer 1, attention\n")
    ]

    lines = dict(line.split(": ") for line in text.replace("\u2212", "-").splitlines()[1:])
    expected = {
        "around (direct)": ("direct_norm", " nats/unit"),
        "through attention (transform)": ("transform_norm", " nats/unit"),
        "share of the transform": ("transform_share", ""),
        "cosine of both": ("cosine", ""),
        "growth": ("growth", ""),
    }
    assert lines == {
        label: f"{row[column]:.4g} \u00b1 {row[f'{column}_se']:.2g}{unit}"
        for label, (column, unit) in expected.items()
    }


@pytest.mark.parametrize("num_layers", [1, 2, 30])
def test_the_picture_tells_the_norm_at_each_depth_and_between_the_halves(num_layers):
    results = flow_results(("residual",), num_layers=num_layers)
    norms = results.tables["depth"]["gradient_norm"]

    found = "\n\n".join(told(next(views(results))))

    told_norms = re.findall(r"Depth \d+, [^\n]*\ngradient norm: ([\d.e+-]+)", found)
    assert [float(norm) for norm in told_norms] == [float(f"{norm:.4g}") for norm in norms[::-1]]
    assert found.count("between attention and MLP") == num_layers


@pytest.mark.parametrize("parallel", [False, True])
def test_who_walks_through_the_picture_goes_with_the_gradient(parallel):
    diagram = shown("residual", num_layers=4, parallel=parallel)[0]

    heights = [shape.points[:, 1] for shape in diagram.shapes if shape.told]
    middles = [(each.min() + each.max()) / 2 for each in heights]
    assert (np.diff(middles) > -5).all()  # of more than 50 to the next layer
    assert told(diagram)[0].startswith("Depth 4, behind the last layer")
    assert told(diagram)[-1].startswith("Depth 0, the embedding")


@pytest.mark.parametrize("range", [3.0, 1000.0], ids=["linear", "logarithmic"])
def test_the_stream_is_as_wide_at_each_depth_as_its_norm_says(range):
    results = flow_results(("residual",), num_layers=4, range=range)
    paths = Paths.of(results.tables["depth"], results.tables["residual"])

    diagram = next(views(results))
    (stream,) = [shape for shape in diagram.shapes if shape.paint == "third"]
    lines = [shape for shape in diagram.shapes if shape.told.startswith("Depth")]

    for line, norm in zip(lines, paths.ends[::-1], strict=True):
        width = np.ptp(line.points[:, 0])
        near = stream.points[np.abs(stream.points[:, 1] - line.points[0, 1]) < 1e-6]
        np.testing.assert_allclose(width, 150 * paths.scale.thickness(norm))
        if norm != paths.ends[-1]:  # there the stub to the loss begins
            np.testing.assert_allclose(np.ptp(near[:, 0]), width)
    grows = "logarithm of the norm" if range > 10 else "norm itself"
    assert f"Width grows with the {grows}" in diagram.note


def test_attention_is_left_of_the_stream_and_the_mlp_right_and_the_loss_above():
    diagram = shown("residual", num_layers=3)[0]
    words = {shape.text: shape.points[0] for shape in diagram.shapes if shape.text}
    middle = words["loss"][0]

    assert words["loss"][1] < words["embedding"][1]
    assert words["2"][1] < words["0"][1]
    assert len(loops(diagram, "first")) == len(loops(diagram, "second")) == 3
    assert all((loop.points[:, 0] < middle).all() for loop in loops(diagram, "first"))
    assert all((loop.points[:, 0] > middle).all() for loop in loops(diagram, "second"))


@pytest.mark.parametrize("options", [{"num_layers": 1}, {"num_layers": 80}, {"parallel": True}])
def test_nothing_of_the_picture_is_outside_of_it(options):
    diagram = shown("residual", **options)[0]

    points = np.concatenate([shape.points for shape in diagram.shapes])
    assert (points >= 0).all()
    assert (points <= [diagram.width, diagram.height]).all()


def test_layers_that_were_not_asked_for_have_no_loops_and_the_note_says_so():
    diagram = shown("residual", num_layers=5, layers=(3,))[0]

    assert len(loops(diagram, "first")) == len(loops(diagram, "second")) == 1
    assert "Layers without loops were not asked for." in diagram.note
    assert "were not asked for" not in shown("residual", num_layers=5)[0].note


def test_parallel_blocks_tell_both_branches_together_too():
    found = told(shown("residual", num_layers=2, parallel=True)[0])

    for layer in (0, 1):
        starts = [text.splitlines()[0] for text in found if text.startswith(f"Layer {layer}")]
        assert sorted(starts) == [
            f"Layer {layer}, MLP",
            f"Layer {layer}, attention",
            f"Layer {layer}, attention and MLP together",
        ]


def test_dots_tell_the_sign_of_the_cosine_only_where_it_is_sure():
    results = flow_results(("residual",), num_layers=2)
    residual = results.tables["residual"]
    columns = dict(residual.columns)
    columns["cosine"] = np.array([0.4, -0.4, 0.1, -0.1])
    columns["cosine_se"] = np.array([0.1, 0.1, 0.1, 0.1])
    changed = Table(name="residual", columns=columns, units=residual.units)

    diagram = next(views(replace(results, tables={**results.tables, "residual": changed})))

    texts = [shape.text for shape in diagram.shapes]
    assert texts.count("+") == texts.count("\u2212") == 1


def test_the_depth_profile_has_the_norms_their_intervals_and_the_fitted_line():
    results = flow_results(("residual",), num_layers=4)
    depth, slopes = results.tables["depth"], results.tables["depth_slope"]

    profile, by_position = list(views(results))[1].charts

    measured, fit = profile.series
    error = 1.96 * depth["gradient_norm_se"]
    np.testing.assert_array_equal(measured.y, depth["gradient_norm"])
    np.testing.assert_allclose(measured.low, depth["gradient_norm"] - error)
    np.testing.assert_allclose(measured.high, depth["gradient_norm"] + error)
    np.testing.assert_allclose(np.diff(np.log(fit.y)), -slopes["slope"][0])
    assert fit.dashed
    assert by_position.categories == ["all", "0", "1", "2\u20133", "4\u20137"]
    np.testing.assert_array_equal(by_position.series[0].y, slopes["slope"])
    np.testing.assert_array_equal(by_position.series[0].low, slopes["slope_low"])


@pytest.mark.parametrize(("range", "verb"), [(100.0, "grows"), (0.01, "shrinks")])
def test_the_slope_is_told_in_words_as_a_factor_with_its_interval(range, verb):
    note = shown("residual", num_layers=2, range=range)[1].note

    factor = 10 if range > 1 else 0.1
    sentence = re.match(r"Backward, towards the embedding, the norm (\w+): (.*?)\)\.", note)
    assert sentence is not None
    assert sentence[1] == verb
    numbers = [float(number) for number in re.findall(r"\d+\.\d+", sentence[2])]
    np.testing.assert_allclose(
        numbers, [factor, factor * np.exp(-0.01), factor * np.exp(0.01)], rtol=1e-3
    )


def test_residual_paths_have_norms_share_cosine_and_growth_of_each_half():
    results = flow_results(("residual",), num_layers=3, parallel=True)
    residual = results.tables["residual"]
    own = residual.select(residual["half"] == "mlp")

    found = charts(list(views(results))[2])

    direct, transform = found["MLP"].series
    np.testing.assert_array_equal(direct.y, own["direct_norm"])
    np.testing.assert_array_equal(transform.y, own["transform_norm"])
    for title, column in (
        ("share through the branch", "transform_share"),
        ("cosine of both paths", "cosine"),
        ("growth", "growth"),
    ):
        assert set(named(found[title])) == {"attention", "MLP", "block"}
        np.testing.assert_array_equal(named(found[title])["MLP"].y, own[column])


def test_the_map_of_positions_has_the_norms_and_errors_of_the_table():
    results = flow_results(("residual",), num_layers=2)
    table = results.tables["depth_by_position"]

    view = list(views(results))[3]

    cells = view.maps[()]
    assert view.rows == ["0", "1", "2\u20133", "4\u20137"]
    np.testing.assert_array_equal(cells.values, table["gradient_norm"].reshape(4, 3))
    np.testing.assert_array_equal(cells.errors, table["gradient_norm_se"].reshape(4, 3))


def test_heads_have_a_map_of_every_measure_with_its_errors():
    results = flow_results(("attention",), num_layers=3, num_heads=4)
    table = results.tables["attention"]

    view = next(views(results))

    options = view.choices[0].options
    assert len(options) == len(view.maps) == 15  # no head has a sink
    for label, column, even in (
        ("largest weight", "largest", None),
        ("what the softmax passes (1: even)", "shrink", "even_shrink"),
        ("entropy of the weights (1: even)", "entropy", "even_entropy"),
        ("gradient norm at keys", "k_norm", None),
    ):
        cells = view.maps[options.index(label),]
        over = table[even] if even else 1.0
        np.testing.assert_allclose(cells.values, (table[column] / over).reshape(3, 4).T)
        np.testing.assert_allclose(cells.errors, (table[f"{column}_se"] / over).reshape(3, 4).T)
    assert view.maps[options.index("gradient norm at keys"),].label.endswith("(nats/unit)")


def test_a_learned_sink_has_its_map():
    results = flow_results(("attention",))
    table = results.tables["attention"]
    columns = {**table.columns, "sink_weight": np.linspace(0, 0.5, table.num_rows)}
    tables = {**results.tables, "attention": Table(name="attention", columns=columns)}

    assert (
        "weight of the learned sink"
        in next(views(replace(results, tables=tables))).choices[0].options
    )


def test_distances_have_the_mean_over_heads_and_each_head_with_errors():
    results = flow_results(("attention",), num_layers=2, num_heads=3)
    table = results.tables["attention_distance"]
    shares = table["share"].reshape(2, 3, 4)
    pairs = table["pairs"].reshape(2, 3, 4)

    view = list(views(results))[1]

    assert view.choices[1].options == ["mean over heads", "0", "1", "2"]
    np.testing.assert_allclose(view.maps[0, 0].values, shares.mean(axis=1))
    assert view.maps[0, 0].errors is None
    np.testing.assert_allclose(view.maps[0, 2].values, shares[:, 1])
    np.testing.assert_allclose(view.maps[0, 2].errors, table["share_se"].reshape(2, 3, 4)[:, 1])
    np.testing.assert_allclose(view.maps[1, 3].values, shares[:, 2] / pairs[:, 2])
    np.testing.assert_allclose(view.maps[2, 0].values, pairs[:, 0])


def test_a_distance_that_only_some_layers_have_is_blank_in_the_others():
    results = flow_results(("attention",), num_layers=2, num_heads=2)
    table = results.tables["attention_distance"]
    kept = (table["layer"] == 0) | (table["distance_first"] < 4)
    tables = {**results.tables, "attention_distance": table.select(kept)}

    view = list(views(replace(results, tables=tables)))[1]

    for cells in view.maps.values():
        np.testing.assert_array_equal(np.isnan(cells.values), [[False] * 4, [False] * 3 + [True]])


def test_models_of_layer_norms_show_what_centring_removes_and_others_say_why_not():
    layer_norms = shown("norms", kind="layer")[0]
    rms_norms = shown("norms", kind="rms")[0]

    assert "removed by centring: r mean" in charts(layer_norms)
    assert "removed by centring: r mean" not in charts(rms_norms)
    assert "r mean is 0 by construction" in rms_norms.note
    assert "by construction" not in layer_norms.note


def test_norms_have_their_statistics_intervals_and_chance():
    results = flow_results(("norms",), num_layers=3)
    table = results.tables["norms"]
    own = table.select(table["norm"] == "norm2")

    chart = charts(next(views(results)))["removed by scaling: r radial"]

    line, final = named(chart)["norm2"], named(chart)["final_norm"]
    np.testing.assert_array_equal(line.y, own["r_radial"])
    np.testing.assert_allclose(line.high, own["r_radial"] + 1.96 * own["r_radial_se"])
    assert chart.levels == {"chance": 1 / 64}
    assert final.x.tolist() == [3.0]
    assert chart.x == "layer (3: final_norm)"


def test_a_norm_of_each_head_is_the_mean_with_a_band_from_the_least_to_the_largest():
    results = flow_results(("norms",), num_layers=2, head_norms=("attn.q_norm",), num_heads=4)
    table = results.tables["norms"]
    own = table["r_radial"][table["norm"] == "attn.q_norm"].reshape(2, 4)

    line = named(charts(next(views(results)))["removed by scaling: r radial"])["attn.q_norm"]

    np.testing.assert_allclose(line.y, own.mean(axis=1))
    np.testing.assert_allclose(line.low, own.min(axis=1))
    np.testing.assert_allclose(line.high, own.max(axis=1))


def test_chance_that_differs_by_layer_and_deviations_of_sigma_are_dashed_lines():
    results = flow_results(("norms",), num_layers=2)
    table = results.tables["norms"]
    chance = np.linspace(1.5, 2.5, table.num_rows)
    columns = {**table.columns, "identity_norm_ratio_chance": chance}
    changed = Table(name="norms", columns=columns, units=table.units)

    parts, surrogates = list(views(replace(results, tables={"norms": changed})))[:2]

    sigma = named(charts(parts)["\u03c3: what the norm divides by"])["norm1: standard deviation"]
    np.testing.assert_array_equal(sigma.y, table["sigma_std"][table["norm"] == "norm1"])
    assert sigma.dashed
    ratios = [each for each in surrogates.charts if each.title == "identity: u"][1]
    line = named(ratios)["norm2: chance"]
    np.testing.assert_array_equal(line.y, chance[table["norm"] == "norm2"])
    assert line.dashed
    assert ratios.levels == {"exact": 1.0}


def test_rules_whose_direction_is_exact_are_named_and_not_drawn():
    exact, inexact = (shown("norms", kind=kind)[1] for kind in ("rms", "layer"))

    directions = [sum("cosine" in chart.y for chart in view.charts) for view in (exact, inexact)]
    assert directions == [3, 5]
    assert "the direction is exact of: projected, radial_only" in exact.note
    assert "the direction is exact of" not in inexact.note


def test_what_was_left_out_is_told_with_its_reason():
    about = {
        "left_out": {"attention": "It has no softmax."},
        "text": {"num_passages": 3, "num_tokens": 30, "left_out": {"blank": 2}, "num_cut": 1},
    }
    results = flow_results(("norms",))
    results = replace(
        results,
        metadata={**results.metadata, **about},
        config={**results.config, "max_length": 128},
    )

    (prose,) = [each for each in views(results) if isinstance(each, Prose)]

    told = {paragraph.label: paragraph.text for paragraph in prose.paragraphs}
    assert told["attention:"] == "It has no softmax."
    assert told["Text:"] == "Rows left out: 2 blank. Cut at 128 tokens: 1 of 3 passages read."


def test_of_a_gradient_of_zero_there_is_a_page():
    tables = {}
    for name, table in flow_results(num_layers=1).tables.items():
        known = ("layer", "head", "distance", "position", "pairs", "even", "gain")
        columns = dict(table.columns)
        for column, values in columns.items():
            if column.removesuffix("_se").endswith(("_norm", "sigma", "_std")):
                columns[column] = np.zeros(len(values))
            elif values.dtype.kind == "f" and not column.startswith(known):
                columns[column] = np.full(len(values), np.nan)
        tables[name] = Table(name=name, columns=columns, units=table.units)

    text = page_of(replace(flow_results(), tables=tables)).decode()

    assert "The gradient on its way back through the residual stream" in text
    assert "NaN" not in text.split("<script>")[0]
    assert "multiplied by" not in text.split("<script>")[0]


def test_the_page_needs_neither_torch_nor_matplotlib():
    code = (
        "import sys, backlight.surveys.flow.page; "
        "print([name for name in ('torch', 'matplotlib', 'scipy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_heads_that_are_likely_wrong_have_dots_in_the_maps_of_predictions_alone():
    results = flow_results(("attention",), num_layers=2, num_heads=2)
    table = results.tables["attention"]
    warned = {
        "relative_size": np.full(4, 0.1),
        "predicted_change": np.array([0.5, -0.5, 0.0, 0.1]),
        "warning_index": np.array([0.02, 0.02, np.inf, 0.1]),
        "likely_wrong": np.array([0.0, 0.0, 1.0, np.nan]),
    }
    table = Table(name=table.name, columns={**table, **warned}, units=table.units)
    results = replace(results, tables={**results.tables, "attention": table})

    heads = next(iter(views(results)))

    assert heads.reasons == ["likely wrong"]
    options = heads.choices[0].options
    for (place,), cells in heads.maps.items():
        if options[place] in (
            "predicted change without the head",
            "relative size",
            "warning index",
        ):
            assert cells.marks.tolist() == [[0, -1], [0, 0]]  # head 0 of layer 1
        else:
            assert cells.marks is None
    assert heads.note.endswith("Those have a dot.")
    plain = next(iter(views(flow_results(("attention",)))))
    assert "likely wrong" not in plain.note
    assert all(cells.marks is None for cells in plain.maps.values())
