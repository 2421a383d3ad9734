"""What the page of a run of features shows: the numbers of its tables and arrays."""

from dataclasses import replace

import numpy as np
import pytest

from backlight import load_results, sae
from backlight.errors import ConfigError
from backlight.report.page.document import document
from backlight.report.page.views import CellMap, Cloud, Lines, Page, Rows
from backlight.surveys.features.page import views
from zoo.dictionaries import written
from zoo.feature_results import feature_results


def shown_of(statistics=None, **options):
    results = feature_results(**options)
    return results, list(views(results, statistics))


def rendered(found):
    return document(Page(title="x", summary=[], views=found))


def of_kind(found, kind, title=""):
    return [view for view in found if isinstance(view, kind) and title in view.title]


def cloud_of(found):
    (cloud,) = of_kind(found, Cloud)
    return cloud


def values_of(cloud, name):
    return next(each for each in cloud.statistics if each.name == name).values


def test_all_numbers_of_every_feature_are_shown_the_first_mode_and_its_error_first():
    results, found = shown_of()
    cloud = cloud_of(found)

    assert [each.name for each in cloud.statistics] == [
        *("mean_abs", "mean_abs_se", "mean", "mean_se", "rms", "sign_consistency"),
        *("frequency", "decoder_norm"),
    ]
    assert cloud.layers == [3, 4]
    assert cloud.unit == "feature"
    for statistic in cloud.statistics:
        if statistic.name != "sign_consistency":
            for layer in (3, 4):
                array = results.statistics[f"layer_{layer}_{statistic.name}"]
                np.testing.assert_array_equal(statistic.values[layer], array)
    assert [each.error for each in cloud.statistics[:5]] == ["mean_abs_se", "", "mean_se", "", ""]
    assert cloud.statistics[0].label == "mean abs (nats/unit)"


def test_sign_consistency_is_the_mean_by_the_mean_size():
    results, found = shown_of()

    consistency = values_of(cloud_of(found), "sign_consistency")[4]

    mean, size = (results.statistics[f"layer_4_{name}"] for name in ("mean", "mean_abs"))
    np.testing.assert_allclose(consistency, np.abs(mean) / size)
    assert ((consistency >= 0) & (consistency <= 1)).all()


def test_a_feature_without_any_size_has_no_sign_consistency():
    results = feature_results()
    for name in ("mean", "mean_abs"):
        results.statistics[f"layer_3_{name}"][7] = 0.0

    consistency = values_of(cloud_of(list(views(results))), "sign_consistency")[3]

    assert np.isnan(consistency).tolist() == [number == 7 for number in range(50)]


@pytest.mark.parametrize("mode", ["mean", "rms"])
def test_one_mode_comes_first_and_has_no_sign_consistency(mode):
    _, found = shown_of(mode=mode)
    cloud = cloud_of(found)

    assert cloud.statistics[0].name == mode
    assert cloud.statistics[0].error == ("mean_se" if mode == "mean" else "")
    assert "sign_consistency" not in [each.name for each in cloud.statistics]


def test_features_that_never_fired_have_no_numbers():
    _, found = shown_of(never=5, active_only=True)
    cloud = cloud_of(found)

    assert np.isnan(values_of(cloud, "mean")[3][:5]).all()
    assert np.isnan(values_of(cloud, "sign_consistency")[3][:5]).all()
    assert (values_of(cloud, "frequency")[3][:5] == 0).all()
    assert "the tokens where a feature fires" in cloud.note
    assert "A feature that never fired has no number." in cloud.note
    assert len(rendered(found)) > 10_000


def test_a_layer_in_which_no_feature_ever_fired_has_a_page():
    _, found = shown_of(layers=(3,), never=50, active_only=True)

    assert np.isnan(values_of(cloud_of(found), "mean")[3]).all()
    assert len(rendered(found)) > 10_000


def test_aggregates_after_power_and_normalisation_can_be_chosen():
    results, found = shown_of(power=0.5, normalize="sum")
    cloud = cloud_of(found)

    np.testing.assert_array_equal(
        values_of(cloud, "aggregate_mean_abs")[4], results.data["layer_4_mean_abs"]
    )
    assert cloud.statistics[-1].label == "mean abs, to the power 0.5, normalised"
    assert "before those that are to the power 0.5, normalised" in cloud.note


def test_tokens_of_features_are_those_of_the_table_at_most_five_of_each():
    results, found = shown_of(num_contexts=7)
    cloud = cloud_of(found)
    table = results.tables["top_tokens"]

    assert set(cloud.occurrences) == {3, 4}
    for layer in (3, 4):
        features = set(table["feature"][table["layer"] == layer].tolist())
        assert set(cloud.occurrences[layer]) == features
        for feature, own in cloud.occurrences[layer].items():
            assert [each.context for each in own] == [f"a« {feature}» {r}" for r in range(1, 6)]
    first = cloud.occurrences[3][table["feature"][0]][0]
    assert first.value == table["value"][0]
    assert first.where == "passage 0, position 0"


def test_tokens_are_those_of_the_200_largest_features_of_each_layer():
    results, found = shown_of(num_features=500, num_ranked=230, num_contexts=1)
    kept = cloud_of(found).occurrences

    for layer in (3, 4):
        order = np.argsort(-np.abs(results.statistics[f"layer_{layer}_mean"]))
        assert set(kept[layer]) == set(order[:200].tolist())


def test_links_lead_to_neuronpedia_and_nowhere_else():
    place = "https://www.neuronpedia.org/gpt2/6-res"
    results, found = shown_of(link=place)
    features = results.tables["top_features"]["feature"].tolist()

    links = cloud_of(found).links
    assert links[3] == {feature: f"{place}/{feature}" for feature in features[:6]}
    for other in ("https://www.neuronpedia.org.example.com", "javascript:alert(1)", ""):
        assert cloud_of(shown_of(link=other)[1]).links == {}


def test_very_many_features_are_shown_by_one_statistic_and_others_by_their_names():
    results, found = shown_of(num_features=160_000)
    cloud = cloud_of(found)

    assert [each.name for each in cloud.statistics] == ["mean_abs", "mean_abs_se"]
    assert "--statistics mean,frequency" in cloud.note
    more = cloud_of(list(views(results, ["frequency", "mean"])))
    assert [each.name for each in more.statistics] == [
        *("mean_abs", "mean_abs_se", "frequency", "mean"),
    ]
    assert "--statistics" not in more.note
    column = len(rendered([more])) - len(rendered([cloud]))
    assert column < 2 * 320_000 * 2 * 4 / 3 + 5_000


def test_few_features_can_be_shown_by_some_statistics_too():
    _, found = shown_of(["frequency"])

    assert [each.name for each in cloud_of(found).statistics] == [
        *("mean_abs", "mean_abs_se", "frequency"),
    ]


def test_a_statistic_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(
        ConfigError, match="no statistic 'median' of single features; it has 'mean_abs'"
    ):
        shown_of(["median"])


def test_the_depth_profile_has_the_numbers_of_layers():
    results, found = shown_of()
    table = results.tables["layers"]
    (profile,) = of_kind(found, Lines, "Depth profile")

    average, largest = profile.charts[0].series
    np.testing.assert_array_equal(average.y, table["mean_abs"])
    np.testing.assert_allclose(average.high - average.y, table["mean_abs_std"])
    np.testing.assert_array_equal(largest.y, table["mean_abs_max"])
    np.testing.assert_array_equal(profile.charts[-1].series[0].y, table["loss"])
    assert "Loss: with the reconstruction in place." in profile.note
    assert found[0] is profile


def test_one_layer_has_no_depth_profile_and_its_quality_in_a_table():
    _, found = shown_of(layers=(7,))

    assert not of_kind(found, Lines, "Depth profile")
    assert not of_kind(found, Lines, "reconstruct")
    assert isinstance(found[0], Cloud)
    (rows,) = of_kind(found, Rows, "Dictionaries")
    assert "not to be trusted" in rows.note


def test_quality_is_shown_down_to_a_little_below_zero():
    results, found = shown_of(layers=(1, 2, 3), poor=(2,))
    (lines,) = of_kind(found, Lines, "reconstruct")
    table = results.tables["dictionaries"]

    series = lines.charts[0].series
    np.testing.assert_array_equal(series[0].y, np.maximum(table["explained_variance"], -0.1))
    np.testing.assert_array_equal(series[2].y, table["dead_share"])
    np.testing.assert_array_equal(lines.charts[1].series[0].y, table["l0"])
    assert "Poor, by that measure, in layers 2." in lines.note
    assert lines.charts[0].levels == {"least to be trusted": 0.3}


def test_one_layer_has_histograms_that_hold_every_known_feature_once():
    results, found = shown_of(layers=(5,), never=10)
    (lines,) = of_kind(found, Lines, "spread")

    for chart, mode in zip(lines.charts, ("mean_abs", "mean"), strict=True):
        (series,) = chart.series
        values = results.statistics[f"layer_5_{mode}"]
        assert np.nansum(series.y) == 40
        assert chart.marks["average"] == pytest.approx(np.nanmean(values))
        assert series.x[0] - np.nanmin(values) == pytest.approx((series.x[1] - series.x[0]) / 2)
        assert not (series.y == 0).any()


def test_several_layers_have_a_map_of_sizes():
    results, found = shown_of(layers=tuple(range(9)))
    (sizes,) = of_kind(found, CellMap)
    cells = sizes.maps[0,]

    np.testing.assert_allclose(np.nansum(cells.values, axis=0), 100)
    values = results.statistics["layer_4_mean_abs"]
    row = sizes.rows.index("1")
    expected = 100 * np.mean((values > float(sizes.rows[row - 1])) & (values <= 1))
    assert sizes.rows[row - 1] == "0.5"
    assert expected > 0
    assert cells.values[row, 4] == pytest.approx(expected)


def test_sizes_that_are_near_each_other_have_half_octaves():
    results = feature_results()
    for values in results.statistics.values():
        values[:] = np.linspace(1, 7, 50)

    (sizes,) = of_kind(list(views(results)), CellMap)

    assert sizes.rows == ["1", "1.4", "2", "2.8", "4", "5.7", "8"]
    np.testing.assert_allclose(np.nansum(sizes.maps[0,].values, axis=0), 100)


def test_the_largest_are_a_table_fewer_of_each_layer_if_there_are_many():
    results = feature_results()
    table = results.tables["top_features"]
    table["rank_mean_abs"][:6] = [3, 1, 2, 6, 5, 4]
    (rows,) = of_kind(list(views(results)), Rows, "Largest features")
    assert rows.table["feature"][:6].tolist() == table["feature"][[1, 2, 0, 5, 4, 3]].tolist()
    assert rows.table["feature"][6:].tolist() == table["feature"][6:].tolist()
    assert rows.note.startswith("The 6 largest of each layer by mean abs and by mean")
    assert list(rows.columns)[:4] == ["layer", "feature", "mean", "mean_se"]

    (rows,) = of_kind(shown_of(layers=tuple(range(9)), num_ranked=30)[1], Rows, "Largest features")
    assert rows.table.num_rows == 90
    assert rows.table["rank_mean"].max() == 10


def test_a_run_without_loss_and_of_values_has_a_page():
    results = feature_results(splice="error", aggregate_by="values")
    layers = results.tables["layers"]
    columns = {name: column for name, column in layers.items() if name != "loss"}
    units = {name: unit for name, unit in layers.units.items() if name != "loss"}
    changed = replace(layers, columns=columns, units=units)
    found = list(views(replace(results, tables={**results.tables, "layers": changed})))

    (profile,) = of_kind(found, Lines, "Depth profile")
    assert len(profile.charts) == 3
    assert "Loss" not in profile.note


@pytest.fixture(scope="session")
def dictionaries_of_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dictionaries")
    return written(folder, (0, 2))


@pytest.mark.parametrize(
    "others",
    [
        {"splice": "replace", "aggregation_mode": "both"},
        {"splice": "error", "aggregation_mode": "rms", "active_only": True},
        {"splice": "error", "aggregate_by": "values", "aggregation_mode": "mean"},
        {"splice": "error", "aggregate_by": "grad_x_act", "power": 2, "normalize": "both"},
    ],
    ids=lambda others: "-".join(map(str, others.values())),
)
def test_a_run_read_from_disk_has_the_same_page(options, dictionaries_of_two, tmp_path, others):
    fresh = sae(
        **options,
        sae_path=str(dictionaries_of_two),
        allow_poor_reconstruction=True,
        figures="none",
        output_dir=tmp_path / "run",
        **others,
    )
    read = load_results(tmp_path / "run")

    assert rendered(list(views(fresh))) == rendered(list(views(read)))
    cloud = cloud_of(list(views(read)))
    assert cloud.occurrences[2]
    assert "Poor, by that measure, in layers 0, 2." in " ".join(view.note for view in views(read))
