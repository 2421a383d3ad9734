"""``backlight stability``: halves of a run, and how many passages would be enough."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import backlight
from backlight import cli
from backlight.errors import ConfigError, RunDirectoryError
from backlight.surveys.comparison.measure.sides import Run
from backlight.surveys.stability.measure import measure
from backlight.surveys.stability.options import StabilityConfig
from backlight.surveys.stability.printed.summary import summary as stability_summary
from backlight.surveys.stability.tables import layer_table
from backlight.tables import Table

WIDTH, TOKENS = 2000, 10.0


def made(num_groups, noise, *, signal=1.0, seed=0):
    """A run whose dimensions truly vary by ``signal``, and whose passages add noise."""
    random = np.random.default_rng(seed)
    truth = signal * np.random.default_rng(9).normal(size=WIDTH)
    values = truth + noise * random.normal(size=(num_groups, WIDTH))
    sums = {"mean": np.zeros((64, WIDTH)), "below": np.zeros((64, 1))}
    sums["mean"][:num_groups], sums["below"][:num_groups] = TOKENS * values, TOKENS
    mean = values.mean(axis=0)
    dimensions = {"layer": np.zeros(WIDTH), "dimension": np.arange(WIDTH), "mean": mean}
    return Run(
        command="layers",
        label="made",
        tables={
            "dimensions": Table(name="dimensions", columns={**dimensions, "mean_se": mean}),
            "layers": Table(
                name="layers",
                columns={"layer": np.array([0]), "num_sequences": np.array([num_groups])},
            ),
        },
        statistics={},
        config={"aggregation_mode": "mean"},
        groups=lambda layer: sums,
    )


def halves(run, **options):
    found = measure(StabilityConfig(**options), run=run, material={})
    return found.splits, layer_table(found.splits, options.get("agreement", 0.9))


def test_halves_agree_as_signal_and_noise_say():
    """With independent noise, halves of 32 correlate as 1 / (1 + noise^2 / 16)."""
    _, table = halves(made(32, noise=3.0))

    pearson = 1 / (1 + 9 / 16)
    spearman = 6 / np.pi * np.arcsin(pearson / 2)  # of normal variables
    assert table["half_agreement"][0] == pytest.approx(spearman, abs=0.03)
    assert table["num_groups"][0] == 32


def test_two_runs_of_the_number_that_is_told_agree_as_was_wanted():
    _, table = halves(made(32, noise=3.0), agreement=0.8)
    wanted = int(table["passages_wanted"][0])

    means = [
        made(1, noise=3.0 / wanted**0.5, seed=seed).tables["dimensions"]["mean"] for seed in (5, 6)
    ]

    assert 20 < wanted < 64
    assert stats.spearmanr(*means).statistic == pytest.approx(0.8, abs=0.03)
    whole = [
        made(1, noise=3.0 / 32**0.5, seed=seed).tables["dimensions"]["mean"] for seed in (5, 6)
    ]
    assert table["whole_agreement"][0] == pytest.approx(stats.spearmanr(*whole).statistic, abs=0.03)


def test_without_noise_halves_are_the_same_and_without_signal_they_share_nothing():
    _, same = halves(made(10, noise=0.0))
    _, chance = halves(made(64, noise=1.0, signal=0.0))

    assert same["half_agreement"][0] == pytest.approx(1)
    assert same["half_overlap"][0] == 1
    assert abs(chance["half_agreement"][0]) < 0.05
    assert chance["half_overlap"][0] == pytest.approx(50 / WIDTH, abs=0.03)


def test_a_run_of_three_passages_is_refused():
    with pytest.raises(ConfigError, match="has 3 passages, and 4 at least are needed"):
        halves(made(3, noise=1.0))


def test_a_run_on_disk_is_split_by_a_command_that_can_be_repeated(finished_run, place, capsys):
    words = ["stability", str(finished_run), "--splits", "10", "--top", "5"]

    assert cli.main([*words, "--output_dir", "first"]) == 0
    printed = capsys.readouterr().out
    assert "random halves of its 14 passages, 10 times." in " ".join(printed.split())
    assert cli.main(["stability", "first/config.yaml", "--output_dir", "second"]) == 0

    once, again = (backlight.load_results(name) for name in ("first", "second"))
    assert once.tables == again.tables
    assert once.tables["layers"]["layer"].tolist() == [0, 0, 2, 2]
    assert {"stability.png", "index.html"} <= {path.name for path in Path("first").iterdir()}
    with np.load(finished_run / "passage_groups" / "layer_0.npz") as sums:
        seen = np.flatnonzero(sums["below"][:, 0])
        order = np.random.default_rng(0).permutation(seen)
        means = [
            sums["mean"][half].sum(axis=0) / sums["below"][half].sum()
            for half in (order[:7], order[7:])
        ]
    expected = stats.spearmanr(*means).statistic
    assert once.data["dimension_mean_layer_0_agreements"][0] == pytest.approx(expected, abs=1e-4)


def test_runs_without_groups_and_calls_without_a_run_are_refused(finished_run):
    results = backlight.load_results(finished_run)
    flat = backlight.compare(results, results)

    with pytest.raises(RunDirectoryError, match="not of `backlight compare`"):
        backlight.stability(flat)
    with pytest.raises(ConfigError, match="Say which run is to be split"):
        backlight.stability()


def test_of_two_statistics_the_sentences_name_which_is_meant(finished_run):
    found = backlight.stability(finished_run)
    table = found.tables["layers"]
    twice = {name: np.concatenate([table[name], table[name]]) for name in table}
    rows = table.num_rows
    twice["statistic"] = np.array(["mean"] * rows + ["mean_abs"] * rows)
    twice["half_agreement"] = np.linspace(0.9, 0.1, 2 * rows)
    twice["passages_wanted"] = np.linspace(90.0, 10.0, 2 * rows)
    layers = Table(name="layers", columns=twice, units=table.units)

    _, agree, wanted = stability_summary(replace(found, tables={"layers": layers}))

    last, first = twice["layer"][-1], twice["layer"][0]
    assert "in the median layer of mean and mean_abs" in agree
    assert f"least in layer {last} of mean_abs (0.10)" in agree
    assert f"(the most in layer {first} of mean)" in wanted
