from functools import cache
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from backlight.report.layout import CAPTION
from backlight.report.rendering import png
from backlight.surveys.tokens.figures import draw
from backlight.surveys.tokens.figures.cells import ABSENT, STRUCTURAL
from backlight.surveys.tokens.shown import Shown, choose_targets, find_targets
from zoo.figures import caption, made
from zoo.token_results import CITY, token_results

EVERY_RUN = {
    "gradient_norm_heatmap.png",
    "activation_norm_heatmap.png",
    "grad_x_act_heatmap.png",
    "gradient_norm_heatmap_individual.png",
    "gradient_norm_by_position.png",
    "gradient_statistics.png",
    "gradient_cosines.png",
    "geometry_by_layer.png",
}
PCA = "gradient_pca_"


def figures_of(results):
    figures = made(lambda: draw(results))
    return {name.removeprefix("figures/"): figure for name, figure in figures.items()}


def drawn(**options):
    return figures_of(token_results(**options))


@cache
def usual():
    """The figures of the usual run, which tests only look at."""
    return drawn()


def one(name, results=None, **options):
    """Draw no more than it takes to get one figure."""
    if results is None and not options:
        return usual()[name]
    shown = results or token_results(**options)
    return next(each.make() for each in draw(shown) if each.name == f"figures/{name}")


def targets_of(results):
    return find_targets(Shown.of(results))


def layers(number, kind="resid.post"):
    return tuple(f"layers.{layer}.{kind}" for layer in range(number))


def squares(axes, gid):
    found = [each for each in axes.collections if each.get_gid() == gid]
    middles = [path.vertices[:4].mean(axis=0) for each in found for path in each.get_paths()]
    return {(round(y), round(x)) for x, y in middles}


def tick_texts(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_a_run_has_the_seed_s_figures_and_ours_and_components_of_what_is_not_structural():
    pca = {f"{PCA}layer_{layer}_{name}.png" for layer in (0, 1) for name in ("comma", "equals")}

    assert set(usual()) == EVERY_RUN | pca | {f"{PCA}layer_2_equals.png"}


def test_figures_of_other_kinds_of_sites_name_the_kind():
    sites = (*layers(2), *layers(2, "mlp.out"))

    names = set(drawn(sites=sites, unreachable=np.zeros((4, 8), bool)))

    assert "gradient_norm_heatmap.png" in names
    assert "gradient_norm_heatmap_mlp.out.png" in names
    assert f"{PCA}layer_1_comma.png" in names
    assert f"{PCA}layer_1_mlp.out_comma.png" in names


def test_a_site_outside_of_layers_is_a_row_with_its_own_name():
    figures = drawn(sites=("embed", "layers.0.resid.post"))

    assert tick_texts(figures["gradient_norm_heatmap.png"].axes[0].yaxis) == ["embed"]
    assert f"{PCA}embed_comma.png" in figures
    assert "geometry_by_layer_resid.post.png" in figures


def test_the_heatmap_ends_with_the_input_and_shows_its_tokens():
    axes = one("gradient_norm_heatmap.png").axes[0]

    assert tick_texts(axes.xaxis) == [token for _, token in CITY]
    assert tick_texts(axes.child_axes[0].xaxis) == [name for name, _ in CITY]
    assert tick_texts(axes.yaxis) == ["0", "1", "2"]


def test_the_heatmap_hatches_what_the_table_says_is_structural_and_explains_it():
    figure = one("gradient_norm_heatmap.png")

    assert squares(figure.axes[0], STRUCTURAL) == {(2, column) for column in range(7)}
    assert "zero by causality" in caption(figure)
    assert "all 12 prompts" in caption(figure)


def test_the_heatmap_s_colours_are_the_means_of_the_table():
    results = token_results()
    figure = one("gradient_norm_heatmap.png")
    (mesh,) = [each for each in figure.axes[0].collections if isinstance(each, QuadMesh)]

    table = results.tables["positions"]
    comma = table.select((table["position"] == "comma") & (table["layer"] == 1))
    assert mesh.get_array()[1, 5] == comma["gradient_norm"][0]
    assert figure.axes[1].get_ylabel() == "mean gradient norm (nats/unit)"


def test_activations_are_never_structural():
    figure = one("activation_norm_heatmap.png")

    assert not squares(figure.axes[0], STRUCTURAL)
    assert "causality" not in caption(figure)


def test_a_query_at_the_first_token_is_explained_only_where_it_is_alone():
    first = np.zeros((2, 8), bool)
    first[:, 0] = True
    told = "a query sees one key only"

    queries = one("gradient_norm_heatmap.png", sites=layers(2, "attn.q"), unreachable=first)
    keys = one("gradient_norm_heatmap.png", sites=layers(2, "attn.k"), unreachable=first)

    assert told in caption(queries)
    assert told not in caption(keys)


def test_single_prompts_are_two_of_each_split_with_their_answers():
    split = np.array(["train"] * 8 + ["test"] * 4)

    figure = one("gradient_norm_heatmap_individual.png", columns={"split": split})

    assert [axes.get_title(loc="left") for axes in figure.axes[:4]] == [
        "train: dist 0 $x_0$ = → 0",
        "train: dist 1 $x_1$ = → 1",
        "test: dist 8 $x_8$ = → 8",
        "test: dist 9 $x_9$ = → 9",
    ]


def test_single_prompts_without_splits_are_spread_over_all():
    figure = one("gradient_norm_heatmap_individual.png")

    assert [axes.get_title(loc="left").split()[1] for axes in figure.axes[:4]] == [
        "0",
        "4",
        "7",
        "11",
    ]


def test_a_position_that_a_prompt_lacks_is_no_zero():
    results = token_results(missing=("comma",))
    single = one("gradient_norm_heatmap_individual.png", results)

    assert not squares(single.axes[0], ABSENT)
    assert squares(single.axes[1], ABSENT) == {(0, 5), (1, 5), (2, 5)}
    assert "comma (1)" in caption(one("gradient_norm_heatmap.png", results))


def test_each_head_has_a_panel_on_one_scale():
    figure = one("gradient_norm_heatmap_heads.png", sites=layers(6, "attn.v"), num_heads=4)

    panels = figure.axes[:4]
    assert [axes.get_title(loc="left") for axes in panels] == [f"head {head}" for head in range(4)]
    meshes = [
        next(each for each in axes.collections if isinstance(each, QuadMesh)) for axes in panels
    ]
    assert len({(mesh.norm.vmin, mesh.norm.vmax) for mesh in meshes}) == 1
    assert all(len(squares(axes, STRUCTURAL)) == 7 for axes in panels)


def test_sites_without_heads_have_no_panels_of_heads():
    assert not [name for name in usual() if "heads" in name]


def test_lines_by_position_leave_out_structural_zeros():
    axes = one("gradient_norm_by_position.png").axes[0]
    lines = {container.get_label(): container.lines[0].get_ydata() for container in axes.containers}

    assert np.isfinite(lines["0"]).all()
    assert np.isnan(lines["2"][:7]).all()
    assert np.isfinite(lines["2"][7])
    assert axes.get_yscale() == "log"


def test_bars_by_position_are_95_percent_of_the_standard_error():
    results = token_results(num_prompts=400)
    axes = one("gradient_norm_by_position.png", results).axes[0]
    table = results.tables["positions"].select(results.tables["positions"]["layer"] == 0)

    (bars,) = axes.containers[0].lines[2]
    low, high = bars.get_segments()[3][:, 1]

    assert high - low == pytest.approx(2 * 1.96 * table["gradient_norm_se"][3])


def test_many_layers_are_told_apart_by_a_bar():
    name = "gradient_norm_by_position.png"
    few, many = (one(name, sites=layers(number)) for number in (8, 9))

    assert few.axes[0].get_legend() is not None
    assert many.axes[0].get_legend() is None
    assert many.axes[1].get_ylabel() == "layer"


def test_a_figure_drawn_over_that_of_another_target_looks_like_a_new_one():
    results = token_results()
    alone = {name: png(figure) for name, figure in figures_of(results).items()}

    in_a_row = {drawing.name: png(drawing.make()) for drawing in draw(results)}

    assert {name.removeprefix("figures/"): content for name, content in in_a_row.items()} == alone


def test_components_mark_how_many_explain_90_and_95_percent():
    results = token_results()
    axes = one(f"{PCA}layer_0_comma.png").axes[3]
    total = np.cumsum(results.data["layers.0.resid.post/comma/explained"])

    needed = [int(np.flatnonzero(total >= share)[0]) + 1 for share in (0.9, 0.95)]

    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == [f"90 %: {needed[0]} components", f"95 %: {needed[1]} components"]


def test_splits_are_told_apart_by_markers():
    split = np.array(["train"] * 8 + ["test"] * 4)

    axes = one(f"{PCA}layer_0_comma.png", columns={"split": split}).axes[0]

    assert [len(points.get_offsets()) for points in axes.collections] == [8, 4]


def test_two_prompts_have_no_third_component():
    panel = one(f"{PCA}layer_0_comma.png", num_prompts=2).axes[1]

    assert "There is no PC3" in panel.texts[0].get_text()


def test_the_norm_is_compared_with_a_numeric_answer_else_with_the_loss():
    words = np.array(list("abcdefghijkl"))

    number = one("gradient_statistics.png")
    word = one("gradient_statistics.png", targets=("equals",), columns={"answer_value": words})

    assert number.axes[-1].get_xlabel() == "answer"
    assert word.axes[-1].get_xlabel() == "loss (nats/token)"


def test_correlations_are_those_of_the_points_with_their_number():
    results = token_results()
    figure = one("gradient_statistics.png")

    norms = results.data["layers.0.resid.post/gradient_norm"][:, 0, 5]
    expected = np.corrcoef(norms, results.tables["prompts"]["answer_value"])[0, 1]

    assert titles(figure)[0] == f"resid.post of layer 0, comma\nr = {expected:.2f}, n = 12"


def test_an_answer_that_is_always_the_same_has_no_correlation():
    figure = one(
        "gradient_statistics.png", targets=("equals",), columns={"answer_value": np.full(12, 3.0)}
    )

    assert all(title.endswith("\nn = 12") for title in titles(figure))


def test_what_is_not_shown_because_it_is_structural_is_said():
    figure = one("gradient_statistics.png")

    assert "zero by causality: resid.post of layer 2, comma." in caption(figure)
    assert not any("layer 2, comma" in title for title in titles(figure))


def test_cosines_are_sorted_by_what_colours_points():
    results = token_results(columns={"answer_value": np.arange(12)[::-1] * 1.0})
    figure = one("gradient_cosines.png", results)
    (mesh,) = [each for each in figure.axes[0].collections if isinstance(each, QuadMesh)]

    cosines = results.data["layers.0.resid.post/comma/cosines"]
    assert np.allclose(mesh.get_array(), cosines[::-1, ::-1])
    assert (mesh.norm.vmin, mesh.norm.vmax) == (-1, 1)


def test_cosines_without_a_colour_are_sorted_by_the_first_component():
    results = token_results(color_by=None)
    figure = one("gradient_cosines.png", results)
    (mesh,) = [each for each in figure.axes[0].collections if isinstance(each, QuadMesh)]

    target = "layers.0.resid.post/comma"
    order = np.argsort(results.data[f"{target}/scores"][:, 0])
    expected = results.data[f"{target}/cosines"][order][:, order]
    assert np.allclose(mesh.get_array(), expected)
    assert "sorted by PC1" in caption(figure)


def test_groups_of_cosines_are_named():
    region = np.array(["$Asia_1$", "Africa"] * 6)

    figure = one("gradient_cosines.png", columns={"region": region}, color_by="region")

    assert tick_texts(figure.axes[0].yaxis) == ["$Asia_1$", "Africa"]


@pytest.mark.parametrize(
    ("targets", "shape"),
    [(["comma"], [3, 3]), (["comma", "equals"], [3, 3]), ([name for name, _ in CITY], [3, 3])],
)
def test_six_targets_fill_two_rows_of_three(targets, shape):
    results = token_results(sites=layers(9), targets=targets)
    found = targets_of(results)

    rows = choose_targets([target for target in found if not target.is_structural])

    assert list(map(len, rows)) == shape


def test_chosen_layers_are_far_apart():
    results = token_results(sites=layers(9), targets=["equals"])
    found = targets_of(results)

    chosen = [int(target.key.split("_")[1]) for row in choose_targets(found) for target in row]

    assert chosen[0] == 0
    assert chosen[-1] == 8
    assert all(one < other for one, other in pairwise(chosen))


def test_a_single_prompt_has_no_shape_but_all_sizes():
    names = set(drawn(num_prompts=1))

    assert not [name for name in names if name.startswith(PCA)]
    assert names == EVERY_RUN - {"gradient_cosines.png", "geometry_by_layer.png"}


def test_a_run_in_which_every_target_is_structural_has_no_figures_of_vectors():
    names = set(drawn(sites=layers(1), targets=["comma"]))

    assert not [name for name in names if name.startswith(PCA)]
    assert not names & {"gradient_statistics.png", "gradient_cosines.png"}


@pytest.mark.parametrize(
    "options",
    [
        {"sites": layers(1)},
        {"num_prompts": 1},
        {"num_prompts": 2},
        {"missing": ("comma",)},
        {"columns": {"answer_value": np.full(12, np.nan)}},
        {"sites": layers(2, "attn.v"), "num_heads": 3},
        {"positions": tuple((f"p{place}", "\n $_") for place in range(120)), "targets": ("p1",)},
    ],
    ids=["one layer", "one prompt", "two prompts", "missing", "no answers", "heads", "long"],
)
def test_every_figure_can_be_drawn(options):
    small = {"sites": layers(2), "targets": ("equals",)}
    for figure in drawn(**{**small, **options}).values():
        figure.draw_without_rendering()


def test_figures_drawn_twice_are_the_same_bytes():
    options = {"sites": layers(1, "attn.v"), "num_heads": 2, "targets": ("equals",)}
    first, again = (
        {name: png(figure) for name, figure in drawn(**options).items()} for _ in range(2)
    )

    assert first == again


def test_no_figure_is_left_in_pyplot():
    usual()

    assert plt.get_fignums() == []


def test_words_keep_off_the_panels():
    split = np.array(["train", "test"] * 6)
    for name, figure in drawn(columns={"split": split}, targets=("equals",)).items():
        figure.draw_without_rendering()
        (text,) = [text for text in figure.texts if text.get_gid() == CAPTION]
        below = text.get_window_extent().y1
        lowest = min(axes.get_tightbbox().y0 for axes in figure.axes if axes.axison)
        assert lowest >= below - 1, name
        assert text.get_window_extent().y0 >= 0, name
        assert text.get_window_extent().x1 <= figure.bbox.x1, name
