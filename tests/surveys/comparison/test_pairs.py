"""Runs that read the same passages are compared in pairs, from sums over groups of passages."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import backlight
from backlight.surveys import SURVEYS


@pytest.fixture(scope="module")
def sites(tmp_path_factory, model_folder, text_file):
    """Two runs that read the same passages, at two sites."""
    folder = tmp_path_factory.mktemp("sites")
    for site in ("mlp.out", "attn.out"):
        backlight.layers(
            model_name=str(model_folder),
            dataset=str(text_file),
            device="cpu",
            max_length=20,
            dtype="float64",
            site=site,
            aggregation_mode="both",
            figures="none",
            output_dir=folder / site,
        )
    return folder / "mlp.out", folder / "attn.out"


def moved(run, statistic):
    """How much each passage moves a run's statistic of layer 1, and the statistic itself."""
    with np.load(run / "passage_groups" / "layer_1.npz") as sums:
        above, lengths = sums[statistic].astype(float), sums["num_tokens"].astype(float)
    above, lengths = above[lengths > 0], lengths[lengths > 0, None]
    value = above.sum(axis=0) / lengths.sum()
    return (above - value * lengths) / lengths.sum(), value


@pytest.mark.parametrize("statistic", ["mean", "mean_abs"])
def test_the_same_passages_are_compared_in_pairs_of_groups(sites, statistic):
    found = backlight.compare(*sites, allow_different="site", statistic=statistic)

    (first, value), (second, other) = (moved(run, statistic) for run in sites)
    count = len(first)
    error = np.sqrt(count / (count - 1) * np.square(first - second).sum(axis=0))
    place = f"dimension_{statistic}_layer_1"
    np.testing.assert_allclose(found.data[f"{place}_difference"], value - other, atol=1e-9)
    np.testing.assert_allclose(found.data[f"{place}_difference_se"], error, rtol=1e-6)
    expected = 2 * stats.t.sf(np.abs(value - other) / error, count - 1)
    np.testing.assert_allclose(found.data[f"{place}_p"], expected, rtol=1e-4)
    np.testing.assert_allclose(found.data[f"{place}_a"], value, rtol=1e-5, atol=1e-9)
    assert set(found.tables["layers"]["errors"]) == {"paired"}
    assert "in pairs" in SURVEYS["compare"].door("printed").summary(found)[0]


def test_other_passages_are_not_paired_though_groups_are_there(sites, place, model_folder):
    Path("other.txt").write_text("the light comes back\nand every word of it\nis a little gradient")
    backlight.layers(
        model_name=str(model_folder),
        dataset="other.txt",
        device="cpu",
        dtype="float64",
        aggregation_mode="both",
        figures="none",
        output_dir="other",
    )

    found = backlight.compare(sites[0], "other")

    assert set(found.tables["layers"]["errors"]) == {"unpaired"}
    run = backlight.load_results(sites[0])
    table = run.tables["dimensions"]
    np.testing.assert_array_equal(
        found.data["dimension_mean_abs_layer_1_a_se"], table["mean_abs_se"][table["layer"] == 1]
    )


def test_root_mean_squares_are_compared_where_groups_give_their_errors(
    place, model_folder, text_file
):
    for seed, name in enumerate(("one", "two")):
        backlight.layers(
            model_name=str(model_folder),
            dataset=str(text_file),
            device="cpu",
            max_length=20 - 8 * seed,
            aggregation_mode="rms",
            figures="none",
            output_dir=name,
        )

    found = backlight.compare("one", "two")

    assert found.metadata["statistics"] == ["rms"]
    table = backlight.load_results("one").tables["dimensions"]
    np.testing.assert_allclose(
        found.data["dimension_rms_layer_2_a"], table["rms"][table["layer"] == 2], rtol=1e-5
    )
    assert (found.data["dimension_rms_layer_2_a_se"] > 0).all()
