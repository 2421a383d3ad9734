"""``backlight compare``: what differs, what is chance, what is refused, what is shown."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import backlight
from backlight import cli
from backlight.errors import ConfigError, RunDirectoryError
from backlight.runs.results import Results
from backlight.surveys import SURVEYS
from backlight.surveys.driver.results.presenting import SurveyPresentation
from backlight.tables import Table

LAYERS, WIDTH, PASSAGES = (0, 3), 120, 60
CONFIG = {
    "model_name": "made",
    "dataset": "plays",
    "site": "mlp.out",
    "aggregate_by": "gradients",
    "aggregation_mode": "mean_abs",
    "loss_reduction": "sequence_mean",
    "backward": "true",
    "path": None,
    "loss_on": "all",
}


def drawn(seed, scale=1.0, scales=None):
    """What single passages say of each dimension of each layer, as a run would find it."""
    random = np.random.default_rng(seed)
    sizes = np.random.default_rng(99).gamma(2.0, 1.0, size=(len(LAYERS), 1, WIDTH))
    sums = sizes * random.gamma(4.0, 0.25, size=(len(LAYERS), PASSAGES, WIDTH)) * scale
    return sums if scales is None else sums * scales


def layers_run(sums, *, tokens="one", **config):
    mean, error = sums.mean(axis=1), sums.std(axis=1, ddof=1) / np.sqrt(PASSAGES)
    dimensions = Table(
        name="dimensions",
        columns={
            "layer": np.repeat(LAYERS, WIDTH),
            "dimension": np.tile(np.arange(WIDTH), len(LAYERS)),
            "mean_abs": mean.ravel(),
            "mean_abs_se": error.ravel(),
            "rms": mean.ravel(),
        },
        units={"mean_abs": "nats/unit", "mean_abs_se": "nats/unit"},
    )
    layers = Table(
        name="layers",
        columns={"layer": np.array(LAYERS), "num_sequences": np.full(len(LAYERS), PASSAGES)},
    )
    return Results(
        tables={"dimensions": dimensions, "layers": layers},
        metadata={"corpus": {"tokens_sha256": tokens}},
        config={**CONFIG, **config},
        presentation=SurveyPresentation(SURVEYS["layers"]),
    )


def features_run(sums, **config):
    """The same numbers as a run of features has them."""
    plain = layers_run(sums)
    table, arrays = plain.tables["dimensions"], {}
    for layer in LAYERS:
        own = table.select(table["layer"] == layer)
        for name in ("mean_abs", "mean_abs_se", "rms"):
            arrays[f"layer_{layer}_{name}"] = own[name]
    return replace(
        plain,
        statistics=arrays,
        tables={"layers": plain.tables["layers"]},
        config={**CONFIG, "splice": "error", "sae_path": "here", **config},
        presentation=SurveyPresentation(SURVEYS["sae"]),
    )


def heads_run(sums, name):
    mean, error = sums.mean(axis=1), sums.std(axis=1, ddof=1) / np.sqrt(PASSAGES)
    table = Table(
        name="attention",
        columns={
            "layer": np.repeat(LAYERS, WIDTH),
            "head": np.tile(np.arange(WIDTH), len(LAYERS)),
            "num_sequences": np.full(len(LAYERS) * WIDTH, PASSAGES),
            name: mean.ravel(),
            f"{name}_se": error.ravel(),
        },
    )
    return Results(
        tables={"attention": table},
        config=CONFIG,
        presentation=SurveyPresentation(SURVEYS["flow"]),
    )


def positions_run(sums, names):
    mean, error = sums.mean(axis=1), sums.std(axis=1, ddof=1) / np.sqrt(PASSAGES)
    count = len(names)
    table = Table(
        name="positions",
        columns={
            "site": np.full(count, "layers.0.resid.post", dtype=object),
            "layer": np.zeros(count),
            "head": np.full(count, np.nan),
            "position": np.array(names, dtype=object),
            "num_prompts": np.full(count, PASSAGES),
            "gradient_norm": mean[0, :count],
            "gradient_norm_se": error[0, :count],
        },
    )
    return Results(
        tables={"positions": table},
        config={**CONFIG, "objective": "loss"},
        presentation=SurveyPresentation(SURVEYS["tokens"]),
    )


MAKERS = [layers_run, features_run, lambda sums: heads_run(sums, "z_norm")]


@pytest.mark.parametrize("make", MAKERS)
def test_every_unit_is_compared_as_scipy_compares_single_passages(make):
    one, other = drawn(1), drawn(2, scale=1.1)

    found = backlight.compare(make(one), make(other))

    expected = stats.ttest_ind(one, other, axis=1, equal_var=False)
    for row, layer in enumerate(LAYERS):
        (place,) = [
            name.removesuffix("_t") for name in found.data if name.endswith(f"_layer_{layer}_t")
        ]
        np.testing.assert_allclose(found.data[f"{place}_t"], expected.statistic[row])
        np.testing.assert_allclose(found.data[f"{place}_p"], expected.pvalue[row])
        np.testing.assert_allclose(
            found.data[f"{place}_log_ratio"], np.log(one.mean(axis=1) / other.mean(axis=1))[row]
        )
    rates = stats.false_discovery_control(expected.pvalue.ravel())
    q = np.concatenate([array for name, array in found.data.items() if name.endswith("_q")])
    np.testing.assert_allclose(q, rates)
    assert found.tables["layers"]["num_sure"].sum() == (rates <= 0.05).sum()
    assert found.metadata["num_compared"] == len(LAYERS) * WIDTH


def test_planted_dimensions_are_found_with_their_signs_and_chance_is_not():
    scales = np.ones((len(LAYERS), 1, WIDTH))
    higher, lower = np.arange(5, 15), np.arange(60, 70)
    scales[0, 0, higher], scales[1, 0, lower] = 1.5, 1 / 1.5

    found = backlight.compare(layers_run(drawn(1, scales=scales)), layers_run(drawn(2)))

    table = found.tables["differences"]
    sure = table.select(table["higher_in"] != "")
    told = set(zip(sure["higher_in"], sure["layer"], sure["index"], strict=True))
    planted = {*(("a", 0, index) for index in higher), *(("b", 3, index) for index in lower)}
    assert planted <= told
    assert len(told - planted) <= 3  # 5 % of those found may be false
    assert found.metadata["num_sure"] == len(told)
    assert found.tables["layers"]["num_higher_a"][0] >= 10


def test_two_halves_of_one_text_hardly_ever_differ():
    sure = [
        backlight.compare(layers_run(drawn(seed)), layers_run(drawn(seed + 100))).metadata[
            "num_sure"
        ]
        for seed in range(20)
    ]

    assert sum(count == 0 for count in sure) >= 18


def test_positions_are_matched_by_their_names():
    first = positions_run(drawn(1), ["subject", "verb", "last"])
    second = positions_run(drawn(1)[..., [2, 0, 1]], ["last", "subject", "place"])

    found = backlight.compare(first, second)

    table = found.tables["differences"]
    assert set(table["name"]) == {
        "subject at layers.0.resid.post",
        "last at layers.0.resid.post",
    }
    np.testing.assert_allclose(table["difference"], [0, 0], atol=1e-12)
    assert np.isnan(found.tables["layers"]["overlap"]).all()


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("site", "site", "attn.out"),
        ("splice", "splice", "replace"),
        ("dictionary", "sae_path", "elsewhere"),
        ("quantity", "aggregate_by", "grad_x_act"),
        ("reduction", "loss_reduction", "token_mean"),
        ("tokens", "loss_on", "completion"),
        ("backward", "backward", "freeze_norms"),
        ("path", "path", 4),
    ],
)
def test_runs_that_measured_something_else_are_refused_unless_it_is_allowed(name, option, value):
    first, second = features_run(drawn(1)), features_run(drawn(2), **{option: value})

    with pytest.raises(
        ConfigError, match=rf"differ in {name} \({option} .*--allow_different {name}"
    ):
        backlight.compare(first, second)

    found = backlight.compare(first, second, allow_different=["site", name])
    assert name in found.metadata["allowed"]


def test_two_tokenizers_are_noticed_by_what_they_make_of_the_same_text():
    first = layers_run(drawn(1), tokens="one")
    other_text = layers_run(drawn(2), tokens="two", dataset="essays", model_name="tuned")
    other_tokenizer = layers_run(drawn(2), tokens="two", model_name="tuned")

    assert backlight.compare(first, other_text).metadata["num_compared"]
    with pytest.raises(ConfigError, match=r"differ in tokenizer .the same text gives other tokens"):
        backlight.compare(first, other_tokenizer)


def test_other_commands_widths_statistics_and_what_is_no_run_are_refused():
    run, heads = layers_run(drawn(1)), heads_run(drawn(1), "z_norm")

    with pytest.raises(ConfigError, match="they share no numbers"):
        backlight.compare(run, heads)
    with pytest.raises(ConfigError, match=r"has no rms with a standard error.*It has mean_abs"):
        backlight.compare(run, run, statistic="rms")
    with pytest.raises(ConfigError, match="Layer 0 has 120 dimensions in one run and 60"):
        backlight.compare(run, narrow(run))
    with pytest.raises(RunDirectoryError, match="not of `backlight compare`"):
        backlight.compare(run, backlight.compare(run, run))
    with pytest.raises(ConfigError, match="Name two runs, not 0"):
        backlight.compare()
    with pytest.raises(ConfigError, match="write one or more of site, dictionary"):
        backlight.compare(run, run, allow_different="sight")


def narrow(run):
    table = run.tables["dimensions"]
    return replace(run, tables={**run.tables, "dimensions": table.select(table["dimension"] < 60)})


def test_features_seen_only_where_they_fire_need_to_know_in_how_many_passages():
    first = features_run(drawn(1), active_only=True)

    with pytest.raises(RunDirectoryError, match="in how many passages each fires"):
        backlight.compare(first, first)

    counts = {f"layer_{layer}_num_passages": np.full(WIDTH, 3) for layer in LAYERS}
    known = replace(first, statistics={**first.statistics, **counts})
    found = backlight.compare(known, known)
    assert np.allclose(found.data["feature_mean_abs_layer_0_freedom"], 4)


def test_layers_of_one_run_alone_are_left_out_and_told():
    run = layers_run(drawn(1))
    table = run.tables["layers"]
    fewer = replace(run, tables={**run.tables, "layers": table.select(table["layer"] == 0)})

    found = backlight.compare(run, fewer)

    assert found.metadata["left_out"] == ["layers 3 of 'a'"]
    assert found.tables["layers"]["layer"].tolist() == [0]
    assert any("only in one run: layers 3" in each for each in sentences(found))


def sentences(found):
    return SURVEYS["compare"].door("printed").summary(found)


def test_it_says_how_errors_are_known():
    same = backlight.compare(layers_run(drawn(1)), layers_run(drawn(2)))
    other = backlight.compare(layers_run(drawn(1)), layers_run(drawn(2), tokens="two", dataset="x"))

    assert "keep no groups of them" in sentences(same)[0]
    assert "errors are clustered by passage" in sentences(other)[0]


@pytest.fixture
def runs(finished_run):
    return str(finished_run), str(finished_run)


def test_runs_on_disk_are_compared_by_a_command_that_can_be_repeated(runs, place, capsys):
    assert cli.main(["compare", *runs, "--output_dir", "first"]) == 0
    printed = capsys.readouterr().out
    assert "Two runs of `backlight layers` were compared" in printed
    assert "Their numbers are the same everywhere: there is nothing to test." in printed
    assert "Of 0" not in printed

    assert cli.main(["compare", "first/config.yaml", "--output_dir", "second"]) == 0
    once, again = (backlight.load_results(name) for name in ("first", "second"))
    assert once.tables == again.tables
    assert {"differences.png", "by_layer.png", "index.html"} <= {
        path.name for path in Path("first").iterdir()
    }
    assert cli.main(["report", "first"]) == 0
    assert cli.main(["compare", runs[0]]) == 2
    assert "Name two runs, not 1" in capsys.readouterr().err


def test_nothing_of_torch_is_loaded(runs, place):
    code = (
        "import sys; from backlight import cli; "
        f"status = cli.main(['compare', {runs[0]!r}, {runs[1]!r}, '--output_dir', 'there']); "
        "assert status == 0 and 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
