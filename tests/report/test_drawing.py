from functools import partial

import pytest

from backlight.report.drawing import Drawing, Figures, wanted_of

NAMES = {"depth.png": True, "layer_0_hist.png": False, "figures/depth_map.svg": True}


@pytest.fixture
def made():
    """What was drawn, in this order."""
    return []


@pytest.fixture
def draw(made):
    def make(name):
        made.append(name)
        return f"figure of {name}"

    def draw():
        for name, is_overview in NAMES.items():
            yield Drawing(name=name, is_overview=is_overview, make=partial(make, name))

    return draw


@pytest.mark.parametrize(
    ("wanted", "names"),
    [("all", list(NAMES)), ("overview", ["depth.png", "figures/depth_map.svg"]), ("none", [])],
)
def test_wanted_figures_are_chosen_and_none_is_drawn(draw, made, wanted, names):
    assert [drawing.name for drawing in wanted_of(draw(), wanted)] == names
    assert not made


def test_figures_are_a_mapping_from_plain_names_that_draws_what_is_asked_for(draw, made):
    figures = Figures(draw)

    assert list(figures) == ["depth", "layer_0_hist", "depth_map"]
    assert len(figures) == 3
    assert "depth" in figures
    assert "width" not in figures
    assert repr(figures) == "Figures: depth, layer_0_hist, depth_map"
    assert not made
    assert figures["depth_map"] == "figure of figures/depth_map.svg"
    assert made == ["figures/depth_map.svg"]


def test_a_figure_is_drawn_anew_each_time(draw, made):
    figures = Figures(draw)

    for name in ("depth", "depth.png", "depth"):
        assert figures[name] == "figure of depth.png"

    assert made == ["depth.png"] * 3


def test_a_figure_that_does_not_exist_is_refused_with_those_that_do(draw, made):
    with pytest.raises(
        KeyError, match=r"no figure 'dept'.*mean depth.* There are 'depth', 'layer_0_hist'"
    ):
        Figures(draw)["dept"]
    with pytest.raises(KeyError, match=r"no figure 'x'. There are none"):
        Figures(list)["x"]
    assert not made
