import numpy as np

from backlight.report.page import building
from backlight.tables import Table


def table(**columns):
    arrays = {name: np.array(values) for name, values in columns.items()}
    return Table(name="t", columns=arrays, units={"mean": "nats"} if "mean" in columns else {})


def test_a_band_reaches_1_96_standard_errors_to_both_sides():
    line = building.series(
        table(layer=[0, 1], mean=[1.0, 2.0], mean_se=[0.1, 0.2]), "layer", "mean"
    )
    assert np.allclose(line.low, [1 - 0.196, 2 - 0.392])
    assert np.allclose(line.high, [1 + 0.196, 2 + 0.392])


def test_errors_that_nobody_knows_make_no_band():
    line = building.series(table(layer=[0], mean=[1.0], mean_se=[np.nan]), "layer", "mean")
    assert line.low is None
    assert line.high is None


def test_an_axis_is_logarithmic_if_all_that_is_known_is_above_zero():
    assert building.scale_of(np.array([1.0, np.nan, 2.0])) == "log"
    assert building.scale_of(np.array([1.0, 0.0])) == "linear"
    assert building.scale_of(np.array([np.nan])) == "linear"


def test_columns_are_divided_by_layers_in_the_order_of_the_table():
    found = building.by_layer(table(layer=[5, 5, 2], mean=[1.0, 2.0, 3.0]), "mean")
    assert {layer: values.tolist() for layer, values in found.items()} == {5: [1, 2], 2: [3]}
    assert list(found) == [5, 2]


def test_each_statistic_is_followed_by_its_error():
    known = table(layer=[0], mean=[1.0], mean_se=[0.5], rms=[2.0])
    found = building.statistics(known, "mean", "absent", "rms")
    assert [(each.name, each.error) for each in found] == [
        ("mean", "mean_se"),
        ("mean_se", ""),
        ("rms", ""),
    ]
    assert found[0].label == "mean (nats)"


def test_the_largest_are_so_by_their_absolute_value():
    found = building.largest({0: np.array([1.0, -3.0, np.nan, 2.0])}, 2)
    assert found[0].tolist() == [1, 3]


def test_tokens_are_found_by_layer_and_number():
    tokens = table(
        layer=[0, 0, 1],
        feature=[4, 5, 4],
        value=[1.0, 2.0, 3.0],
        passage=[0, 1, 2],
        position=[7, 8, 9],
        context=["«a»", "«b»", "«c»"],
    )
    found = building.occurrences(tokens, "feature", {0: np.array([5]), 1: np.array([4])})
    assert list(found[0]) == [5]
    assert found[1][4][0].where == "passage 2, position 9"
    assert [each.context for each in building.occurrences(tokens, "feature")[0][4]] == ["«a»"]
