import numpy as np
import pytest
from matplotlib.figure import Figure

from backlight.runs.results import Results
from backlight.surveys.layers.figures import draw, draw_sizes
from backlight.tables import Table
from zoo.figures import made

WIDTH = 8
RANDOM = np.random.default_rng(0)


def results_of(names, *, layers=(0, 2), quantity="gradients", **config):
    numbers = {
        f"{mode}{end}": np.abs(RANDOM.normal(size=len(layers)))
        for mode in ("mean", "mean_abs", "rms")
        for end in ("", "_se")
    }
    shares = ("participation_ratio", "top_share", "sign_consistency")
    tables = (
        Table(
            name="layers",
            columns={
                "layer": np.array(layers),
                "num_dimensions": np.full(len(layers), WIDTH),
                **numbers,
                **{name: np.full(len(layers), 0.5) for name in shares},
            },
            units=dict.fromkeys(numbers, "nats/unit"),
        ),
        Table(
            name="dimensions",
            columns={
                "layer": np.repeat(layers, WIDTH),
                "mean": RANDOM.normal(size=WIDTH * len(layers)),
                "mean_abs": np.abs(RANDOM.normal(size=WIDTH * len(layers))),
            },
        ),
        histograms([(layer, 0.5, 1.0, 10) for layer in layers]),
    )
    asked = {"model_name": "tiny", "site": "mlp.out", "aggregate_by": quantity}
    return Results(
        config={**asked, "normalize": "none", "power": None, **config},
        data={
            f"layer_{layer}_{name}": RANDOM.normal(size=WIDTH).astype(np.float32)
            for name in names
            for layer in layers
        },
        tables={table.name: table for table in tables},
    )


def histograms(rows):
    layer, lower, upper, count = zip(*rows, strict=True)
    return Table(
        name="histograms",
        columns={
            "layer": np.array(layer),
            "lower": np.array(lower, np.float64),
            "upper": np.array(upper, np.float64),
            "count": np.array(count),
        },
        units={"lower": "nats", "upper": "nats"},
    )


def drawn(names, **options):
    results = results_of(names, **options)
    return made(lambda: draw(results))


def title_of(figure):
    return figure.texts[0].get_text().replace("\n", " ")


def test_a_single_mode_has_the_seed_s_figures_and_a_depth_profile():
    assert set(drawn(["mean_abs"])) == {
        "depth_profile.png",
        "token_gradient_histograms.png",
        "layer_0_mean_abs_gradient_hist.png",
        "layer_0_mean_abs_activation_scatter.png",
        "layer_2_mean_abs_gradient_hist.png",
        "layer_2_mean_abs_activation_scatter.png",
        "all_layers_mean_abs_gradient_histograms.png",
        "all_layers_mean_abs_activation_scatter.png",
    }


def test_both_modes_have_combined_figures_too():
    extra = set(drawn(["mean", "mean_abs"])) - set(drawn(["mean"])) - set(drawn(["mean_abs"]))

    assert extra == {
        "layer_0_gradient_hist_combined.png",
        "layer_0_gradient_scatter_combined.png",
        "layer_2_gradient_hist_combined.png",
        "layer_2_gradient_scatter_combined.png",
        "mean_against_mean_abs.png",
    }


def test_each_normalisation_has_its_combined_figures():
    names = [f"{mode}_norm_{norm}" for mode in ("mean", "mean_abs") for norm in ("sum", "sum_abs")]

    combined = {name for name in drawn(names, layers=(1,)) if name.endswith("combined.png")}

    assert combined == {
        f"layer_1_norm_{norm}_gradient_{kind}_combined.png"
        for norm in ("sum", "sum_abs")
        for kind in ("hist", "scatter")
    }


def test_one_layer_is_not_compared_with_others():
    assert not [name for name in drawn(["mean"], layers=(3,)) if name.startswith("all_layers")]


@pytest.mark.parametrize("quantity", ["values", "grad_x_act"])
def test_figures_are_named_after_what_they_show(quantity):
    noun = {"values": "value"}.get(quantity, quantity)

    figures = drawn(["mean"], quantity=quantity)

    assert f"layer_0_mean_{noun}_hist.png" in figures
    assert f"all_layers_mean_{noun}_histograms.png" in figures
    assert f"token_{noun}_histograms.png" in figures
    assert not any("gradient_" in name for name in figures)


def test_every_figure_says_what_it_shows_of_which_model():
    for name, figure in drawn(["mean", "mean_abs"]).items():
        assert isinstance(figure, Figure)
        title = title_of(figure)
        assert "gradient of the loss at mlp.out, tiny" in title, name
        if name.startswith("layer_2_"):
            assert title.startswith("Layer 2: ")


def test_every_axis_is_labelled():
    for name, figure in drawn(["mean", "mean_abs"]).items():
        if name.startswith("all_layers") or name == "mean_against_mean_abs.png":
            upright = [
                text.get_rotation() for text in figure.axes[0].texts if text.get_size() == 10
            ]
            assert upright == [0, 90], name
        else:
            assert all(axes.get_ylabel() for axes in figure.axes), name
            assert figure.axes[-1].get_xlabel() or name.startswith("token_"), name


def test_layers_that_are_compared_share_their_scales():
    figures = drawn(["mean"], layers=tuple(range(8)))

    for name in (
        "all_layers_mean_gradient_histograms.png",
        "all_layers_mean_activation_scatter.png",
    ):
        (axes,) = figures[name].axes
        words = [text.get_text() for text in axes.texts]
        assert [word for word in words if word.startswith("layer")] == [
            f"layer {layer}" for layer in range(8)
        ]


def test_the_unit_of_normalised_numbers_is_on_the_axis():
    figures = drawn(["mean"], layers=(0,), normalize="sum")

    axes = figures["layer_0_mean_gradient_hist.png"].axes[0]
    assert axes.get_xlabel() == "mean (1 on average by sum)"


def test_the_depth_profile_has_a_panel_for_each_mode_and_one_for_concentration():
    figure = drawn(["mean", "mean_abs"])["depth_profile.png"]

    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["mean (nats/unit)", "mean abs (nats/unit)", "share (0 to 1)"]
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "log", "linear"]
    shown = figure.axes[-1].lines[0].get_ydata()
    np.testing.assert_allclose(shown, 0.5 / WIDTH)  # effective dimensions over dimensions


def test_figures_of_one_layer_are_no_overviews():
    drawings = list(draw(results_of(["mean", "mean_abs"])))

    single = {drawing.name for drawing in drawings if not drawing.is_overview}
    assert single == {each.name for each in drawings if each.name.startswith("layer_")}


def test_a_figure_is_drawn_only_when_it_is_asked_for(monkeypatch):
    begun = []
    monkeypatch.setattr(Figure, "__init__", lambda *args, **options: begun.append(args))

    assert len(list(draw(results_of(["mean", "mean_abs"])))) == 19
    assert not begun


@pytest.fixture
def axes():
    return Figure(figsize=(8, 4.5)).subplots()


def test_shares_of_sizes_add_up_to_100_percent_in_each_layer(axes):
    table = histograms(
        [
            (0, -2.0, -1.0, 30),
            (0, 1.0, 2.0, 10),
            (0, 2.0, 4.0, 60),
            (3, 1.0, 2.0, 5),
            (3, 0.0, 1e-45, 15),
        ]
    )

    mesh = draw_sizes(axes, table)

    shares = np.ma.filled(mesh.get_array(), 0.0)
    # Rows are octaves from the lowest; both signs of a size are one row.
    np.testing.assert_allclose(shares.sum(axis=0), [100, 100])
    np.testing.assert_allclose(shares, [[40, 100], [60, 0]])
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel().startswith("absolute value (nats)")


def test_a_run_in_which_all_was_zero_can_be_drawn(axes):
    mesh = draw_sizes(axes, histograms([(0, 0.0, 1e-45, 20), (1, 0.0, 1e-45, 20)]))

    np.testing.assert_allclose(np.ma.filled(mesh.get_array(), 0.0).sum(axis=0), [100, 100])
