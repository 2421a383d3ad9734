"""Gradients of some features made larger in a stored run: they are found, with their signs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import backlight
from backlight.dictionaries.formats import saelens
from backlight.stats.contrast import Groups, estimates_of
from zoo.dictionaries import random_dictionary

NUM_PLANTED, FACTOR, NOISE = 20, 1.5, 0.05
FILE = "passage_groups/layer_1.npz"


@pytest.fixture(scope="module")
def run(tmp_path_factory, model_folder):
    folder = tmp_path_factory.mktemp("planted")
    made = random_dictionary(32, dtype=torch.float32, seed=0)
    saelens.write(made, folder / "layer_1", model_name="llama", hook_name="blocks.1.hook_mlp_out")
    words = [
        "the",
        "light",
        "comes",
        "back",
        "and",
        "every",
        "word",
        "of",
        "it",
        "is",
        "a",
        "little",
    ]
    random = np.random.default_rng(0)
    return backlight.sae(
        model_name=str(model_folder),
        dataset=[" ".join(random.choice(words, size=8)) for _ in range(60)],
        device="cpu",
        sae_path=str(folder),
        splice="error",
        allow_poor_reconstruction=True,
        keep_groups=True,
    )


def changed(run, scales, seed):
    """The same run, with other gradients of some features, and noise in every passage."""
    sums, random = run.groups[FILE], np.random.default_rng(seed)
    noise = 1 + NOISE * random.normal(size=sums["mean_abs"].shape)
    above = (sums["mean_abs"] * noise * scales).astype(np.float32)
    found = estimates_of(Groups(above=above, below=sums["below"]))
    told = {"layer_1_mean_abs": found.value, "layer_1_mean_abs_se": found.error}
    return replace(
        run,
        groups={FILE: {**sums, "mean_abs": above}},
        statistics={**run.statistics, **told},
    )


@pytest.mark.parametrize(("factor", "side"), [(FACTOR, "b"), (1 / FACTOR, "a")])
def test_planted_features_are_found_with_their_signs_and_come_first(run, factor, side):
    width = run.groups[FILE]["mean_abs"].shape[1]
    planted = np.random.default_rng(1).choice(width, NUM_PLANTED, replace=False)
    scales = np.ones(width)
    scales[planted] = factor

    found = backlight.compare(run, changed(run, scales, seed=2))

    table = found.tables["differences"]
    assert set(found.tables["layers"]["errors"]) == {"paired"}
    first = table.select(np.arange(NUM_PLANTED))
    assert set(first["index"]) == set(planted)
    assert set(first["higher_in"]) == {side}
    np.testing.assert_allclose(first["log_ratio"], -np.log(factor), atol=0.05)
    assert found.metadata["num_sure"] - NUM_PLANTED <= 2


def test_where_nothing_was_planted_nothing_is_found(run):
    width = run.groups[FILE]["mean_abs"].shape[1]
    told = [
        backlight.compare(run, changed(run, np.ones(width), seed)).metadata["num_sure"]
        for seed in range(20)
    ]

    assert sum(count == 0 for count in told) >= 18
