"""Runs that read the same passages are compared in pairs, from sums over groups of passages."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import backlight
from backlight.dictionaries.formats import saelens
from backlight.errors import ConfigError
from backlight.stats.contrast import Groups, estimates_of
from backlight.surveys import SURVEYS
from zoo.dictionaries import random_dictionary


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
        above, lengths = sums[statistic].astype(float), sums["below"][:, 0].astype(float)
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


def dictionary_in(folder, seed):
    made = random_dictionary(32, dtype=torch.float32, seed=seed)
    name = "blocks.1.hook_mlp_out"
    saelens.write(made, folder / "layer_1", model_name="llama", hook_name=name)
    return folder


QUANTITIES = {
    "gradients at all tokens": {"aggregation_mode": "both"},
    "gradients where features fire": {"aggregation_mode": "both", "active_only": True},
    "gradient times activation": {"aggregate_by": "grad_x_act", "aggregation_mode": "both"},
}


@pytest.fixture(params=QUANTITIES)
def dictionaries(request, place, model_folder, text_file):
    """Two runs that read the same passages, with two dictionaries."""
    for seed in (0, 1):
        backlight.sae(
            model_name=str(model_folder),
            dataset=str(text_file),
            device="cpu",
            max_length=20,
            sae_path=str(dictionary_in(Path(f"dictionary{seed}"), seed)),
            splice="error",
            allow_poor_reconstruction=True,
            keep_groups=True,
            figures="none",
            output_dir=f"run{seed}",
            **QUANTITIES[request.param],
        )
    return "run0", "run1"


def test_features_of_the_same_passages_are_compared_in_pairs_of_groups(dictionaries):
    found = backlight.compare(
        *dictionaries, allow_different="dictionary", statistic="mean,mean_abs"
    )

    assert set(found.tables["layers"]["errors"]) == {"paired"}
    for mode in ("mean", "mean_abs"):
        place = f"feature_{mode}_layer_1"
        for side, run in zip("ab", dictionaries, strict=True):
            with np.load(Path(run) / "passage_groups" / "layer_1.npz") as sums:
                grouped = estimates_of(Groups(above=sums[mode], below=sums["below"]))
            scale = np.nanmax(np.abs(grouped.value))
            kept = backlight.load_results(run).statistics
            for name, values in ((mode, grouped.value), (f"{mode}_se", grouped.error)):
                np.testing.assert_allclose(values, kept[f"layer_1_{name}"], atol=1e-4 * scale)
            np.testing.assert_allclose(
                found.data[f"{place}_{side}"], grouped.value, atol=1e-4 * scale
            )
        difference = found.data[f"{place}_a"] - found.data[f"{place}_b"]
        np.testing.assert_allclose(found.data[f"{place}_difference"], difference, atol=1e-4 * scale)
        known = ~np.isnan(found.data[f"{place}_p"])
        assert known.any()
        assert (found.data[f"{place}_freedom"][known] <= 13).all()


def test_groups_of_features_are_refused_where_they_have_no_error(model_folder, text_file):
    with pytest.raises(ConfigError, match="keeps sums of mean and mean_abs, and the mode is rms"):
        backlight.sae(
            model_name=str(model_folder),
            dataset=str(text_file),
            aggregation_mode="rms",
            keep_groups=True,
        )
