"""Runs of `tokens` that read the same prompts are compared in pairs, prompt by prompt."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import backlight
from backlight.errors import RunDirectoryError
from backlight.surveys import SURVEYS
from backlight.tables import Table
from zoo.folders import save_tokenizer
from zoo.models import tiny_model

SITE, PLANTED = "layers.1.resid.post", "thing"
WORDS = ("light", "model", "layer", "word", "neuron", "gradient", "surprise", "little")
PLACES = ("back", "up", "louder", "which", "every", "next")
FIELDS = {
    "thing": [word for word in WORDS for _ in PLACES],
    "place": [place for _ in WORDS for place in PLACES],
    "goal": [WORDS[(3 * row) % len(WORDS)] for row in range(len(WORDS) * len(PLACES))],
}


def saved(folder, noise):
    torch.manual_seed(0)
    model = tiny_model("llama").double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + noise * torch.randn_like(parameter))
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def measured(folder, **options):
    return backlight.tokens(
        **{
            "model_name": str(folder),
            "device": "cpu",
            "dtype": "float64",
            "template": "the {thing} of {place} comes",
            "answer": " {goal}",
            "fields": FIELDS,
            "sites": "resid.post,attn.z",
            "target_positions": "all",
            **options,
        }
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompts")
    return saved(folder / "before", 0.0), saved(folder / "after", 0.02)


@pytest.fixture(scope="module")
def runs(folders):
    return tuple(measured(folder) for folder in folders)


def norms(run, position):
    """The norm of each prompt's whole vector."""
    vectors = run.data[f"{SITE}/{position}/gradients"].astype(np.float64)
    return np.linalg.norm(vectors, axis=1)


def test_the_same_prompts_are_compared_as_scipy_compares_pairs(runs):
    found = backlight.compare(*runs)

    assert set(found.tables["layers"]["errors"]) == {"paired"}
    assert "errors are of prompts in pairs" in SURVEYS["compare"].door("printed").summary(found)[0]
    table = runs[0].tables["positions"]
    own = table.select(table["layer"] == 1)
    for row in np.flatnonzero((own["site"] == SITE) & (own["num_reaching"] > 0)):
        expected = stats.ttest_rel(*(norms(run, own["position"][row]) for run in runs))
        t, p, freedom, effect = (
            found.data[f"position_gradient_norm_layer_1_{name}"][row]
            for name in ("t", "p", "freedom", "effect_size")
        )
        # Whole vectors are kept in single precision.
        np.testing.assert_allclose(t, expected.statistic, rtol=1e-3)
        np.testing.assert_allclose(p, expected.pvalue, rtol=1e-2)
        assert freedom == len(FIELDS["goal"]) - 1
        assert np.isfinite(effect)


def changed(run, seed, factor=1.0):
    """The same run with noise of 1 % in every number, and one position's gradients scaled."""
    random, table = np.random.default_rng(seed), run.tables["positions"]
    data = dict(run.data)
    for site in dict.fromkeys(table["site"]):
        values = data[f"{site}/gradient_norm"]
        data[f"{site}/gradient_norm"] = values * (1 + 0.01 * random.normal(size=values.shape))
    (column,) = set(table["column"][table["position"] == PLANTED].tolist())
    values = data[f"{SITE}/gradient_norm"].copy()
    values[:, 0, column] *= factor
    data[f"{SITE}/gradient_norm"] = values
    return replace(run, data=data, tables={**run.tables, "positions": told(table, data)})


def told(table, data):
    """The means and errors of what the prompts have."""
    heads = np.nan_to_num(table["head"], nan=-1).astype(int) + 1
    places = zip(table["site"], heads, table["column"], strict=True)
    values = [data[f"{site}/gradient_norm"][:, head, column] for site, head, column in places]
    means = [each.mean() for each in values]
    errors = [each.std(ddof=1) / len(each) ** 0.5 for each in values]
    columns = {"gradient_norm": np.array(means), "gradient_norm_se": np.array(errors)}
    return Table(name="positions", columns={**table, **columns}, units=table.units)


def test_one_louder_position_is_found_in_pairs_and_not_without(runs):
    run, other = runs[0], changed(runs[0], seed=1, factor=1.1)

    pairs = backlight.compare(run, other, statistic="gradient_norm")
    apart = backlight.compare(
        *(replace(each, data={}) for each in (run, other)), statistic="gradient_norm"
    )

    assert set(apart.tables["layers"]["errors"]) == {"unpaired"}
    assert apart.metadata["num_sure"] == 0
    table = pairs.tables["differences"]
    first = table.select([int(np.nanargmin(table["q"]))])
    assert first["name"][0] == f"{PLANTED} at {SITE}"
    assert first["higher_in"][0] == "b"
    assert first["log_ratio"][0] == pytest.approx(-np.log(1.1), abs=0.01)
    assert pairs.metadata["num_sure"] <= 2


def test_where_only_noise_is_added_nothing_is_found(runs):
    found = [
        backlight.compare(runs[0], changed(runs[0], seed), statistic="gradient_norm")
        for seed in range(20)
    ]

    assert sum(each.metadata["num_sure"] == 0 for each in found) >= 18


def test_a_run_that_keeps_fewer_positions_than_it_names_is_refused(runs):
    name = f"{SITE}/gradient_norm"
    harmed = replace(runs[0], data={**runs[0].data, name: runs[0].data[name][:, :, :1]})

    with pytest.raises(RunDirectoryError, match="lacks heads or positions that the table"):
        backlight.compare(harmed, runs[1], statistic="gradient_norm")


def test_other_prompts_are_not_paired(runs, folders):
    fields = {**FIELDS, "place": FIELDS["place"][::-1]}

    found = backlight.compare(runs[0], measured(folders[1], fields=fields))

    assert set(found.tables["layers"]["errors"]) == {"unpaired"}


def test_runs_on_disk_are_paired_as_those_in_memory(runs, folders, place):
    for name, folder in zip(("one", "other"), folders, strict=True):
        measured(folder, output_dir=name, figures="none")

    found, expected = backlight.compare("one", "other"), backlight.compare(*runs)

    assert set(found.tables["layers"]["errors"]) == {"paired"}
    for name, array in expected.data.items():
        if name.endswith("_t"):
            np.testing.assert_allclose(found.data[name], array, rtol=1e-6)
