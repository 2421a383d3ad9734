import numpy as np
import pytest

from backlight.report.page.blocks import Blocks
from backlight.report.page.diagrams import Diagram, Shape
from backlight.report.page.encoding import encode
from backlight.report.page.views import (
    CellMap,
    Cells,
    Choice,
    Cloud,
    Colouring,
    LineChart,
    Lines,
    Occurrence,
    Places,
    Scatter,
    Series,
    Statistic,
)


def encoded(view):
    return encode(view, Blocks())


def test_a_line_without_intervals_has_no_ends():
    x = np.array([0.0, 1.0])
    line = Series(x=x, y=np.array([1.0, np.nan]))
    band = Series(x=x, y=x, low=x - 1, high=x + 1)
    chart = LineChart(x="layer", y="norm", series=[line, band], levels={"chance": 0.5})
    found = encoded(Lines(title="t", charts=[chart]))["charts"][0]
    assert found["series"][0] == {
        "name": "", "dashed": False, "joined": True, "x": [0, 1], "y": [1, None],
        "paint": "first", "legend": "",
    }  # fmt: skip
    assert found["series"][1]["low"] == [-1, 0]
    assert found["levels"] == [["chance", 0.5]]


def looks(*dashed):
    x = np.array([0.0, 1.0])
    lines = [Series(name=f"{n}", x=x, y=x, dashed=each) for n, each in enumerate(dashed)]
    view = Lines(title="t", charts=[LineChart(x="layer", y="norm", series=lines)])
    found = encoded(view)["charts"][0]["series"]
    return [each["paint"] for each in found], [each["legend"] for each in found]


def test_a_dashed_line_has_the_colour_of_the_line_before_it_and_stands_alone_in_the_legend():
    assert looks(False, True) == (["first", "first"], ["0", "1"])
    assert looks(True, False) == (["first", "first"], ["0", "1"])
    paints = ["first", "first", "second", "second"]
    assert looks(False, True, False, True) == (paints, ["0", "", "2", ""])


def test_more_lines_than_hues_have_shades_in_their_order():
    paints, legend = looks(*[False] * 8)
    assert len(set(paints)) == len(legend) == 8
    assert all(paint.startswith("#") for paint in paints)
    assert looks(*[False] * 6)[0][-1] == "sixth"


def test_a_cloud_has_the_numbers_of_each_layer_and_tokens_in_three_parts():
    values = {3: np.array([1.0, 2.0]), 7: np.array([5.0, np.nan])}
    occurrence = Occurrence(value=2.0, context="a «b» c «d»", where="passage 1")
    blocks = Blocks()
    found = encode(
        Cloud(
            title="t",
            unit="feature",
            layers=[3, 7],
            statistics=[Statistic(name="mean", label="mean (nats)", values=values)],
            occurrences={7: {0: [occurrence]}},
        ),
        blocks,
    )
    assert found["statistics"][0]["values"] == [[1, 2], [5, None]]
    assert found["occurrences"][0] is None
    assert found["occurrences"][1]["f"] == "gz"


@pytest.mark.parametrize(
    ("context", "parts"),
    [
        ("a «b» c", ["a ", "b", " c"]),
        ("«»", ["", "", ""]),
        ("no token", ["no token", "", ""]),
        ("«a «b» c»", ["", "a «b» c", ""]),
    ],
)
def test_a_context_is_divided_at_its_guillemets(context, parts):
    import base64
    import gzip
    import json

    blocks = Blocks()
    values = {0: np.array([1.0])}
    encode(
        Cloud(
            title="t",
            unit="feature",
            layers=[0],
            statistics=[Statistic(name="m", label="m", values=values)],
            occurrences={0: {0: [Occurrence(value=1.0, context=context)]}},
        ),
        blocks,
    )
    written = json.loads(gzip.decompress(base64.b64decode(blocks.contents[0])))
    assert written["0"][0][2:] == parts


def test_maps_are_found_by_what_is_chosen():
    cells = Cells(
        values=np.array([[1.0, np.nan]]),
        label="norm",
        scale="log",
        columns=["a", "b"],
        marks=np.array([[0, 1]]),
    )
    choice = Choice(label="statistic", options=["norm"])
    found = encoded(
        CellMap(
            title="t",
            rows=["0"],
            row_label="layer",
            column_label="token",
            choices=[choice, choice],
            maps={(0, 0): cells},
            reasons=["zero by causality"],
        )
    )
    assert found["maps"]["0/0"]["values"] == [1, None]
    assert found["maps"]["0/0"]["marks"] == [0, 1]
    assert found["reasons"] == ["zero by causality"]


def scatter(*colourings):
    plane = Places(
        x=np.array([0.0, 1.0]),
        y=np.array([1.0, 0.0]),
        x_label="PC1",
        y_label="PC2",
        points=np.array([0, 1]),
    )
    return Scatter(
        title="t",
        texts=["a", "b"],
        choices=[Choice(label="site", options=["s"])],
        planes={(0,): plane},
        colourings=colourings,
    )


def test_colours_are_one_more_choice():
    loss = Colouring(label="loss", values=[0.5, float("nan")])
    split = Colouring(label="split", values=["train", "test"])
    found = encoded(scatter(loss, split))
    assert found["choices"][1] == {"label": "Colour", "options": ["loss", "split"]}
    assert found["planes"] == {"0/0": [0, 0], "0/1": [0, 1]}
    assert [sheet["x"] for sheet in found["sheets"]] == [[0, 1]]
    assert found["colourings"][0]["told"] == ["0.5", "nan"]
    assert found["colourings"][0]["colours"][1] == "soft"
    assert found["colourings"][1]["legend"] == [("train", "first"), ("test", "second")]


def test_points_without_a_colouring_are_there_too():
    assert encoded(scatter())["planes"] == {"0/0": [0, 0]}


def test_rare_words_share_a_colour():
    words = [f"w{number % 9}" for number in range(40)]
    found = encoded(scatter(Colouring(label="region", values=words)))["colourings"][0]
    assert found["legend"][-1] == ("other", "soft")
    assert found["colours"][words.index("w8")] == "soft"
    assert len(found["legend"]) == 7


def test_colours_of_numbers_go_from_dark_to_bright():
    found = encoded(scatter(Colouring(label="loss", values=[1.0, 3.0])))["colourings"][0]
    assert found["colours"] == ["#440154", "#fde725"]
    assert [text for text, _ in found["legend"]] == ["1", "2", "3"]


def test_shapes_tell_what_they_are_at_their_middle():
    told = Shape(
        kind="polygon",
        points=np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 20.0]]),
        told="attention\nnorm 1.5",
    )
    silent = Shape(kind="text", points=np.array([[1.0, 2.0]]), text="a")
    found = encoded(Diagram(title="t", width=100, height=50, shapes=[silent, told]))
    assert (found["x"], found["y"], found["told"]) == ([50], [100], ["attention\nnorm 1.5"])
    assert found["aspect"] == 0.5
    assert found["shapes"][0]["points"] == [10, 20]


def test_a_diagram_of_which_nothing_is_told_is_drawn_too():
    silent = Shape(kind="text", points=np.array([[1.0, 2.0]]), text="a")
    assert encoded(Diagram(title="t", width=1, height=1, shapes=[silent]))["x"] == []
