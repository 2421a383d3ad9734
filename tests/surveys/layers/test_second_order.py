"""`backlight layers` of second-order quantities: squared gradients, and second derivatives."""

from functools import partial

import numpy as np
import pytest
import torch

import backlight
from backlight import cli, load_results
from backlight.capture.curvature import record_curvature, signs
from backlight.capture.tape import Tape
from backlight.data.batches import Batch, Passages, tokenize
from backlight.data.corpora import RowReader
from backlight.errors import ConfigError
from backlight.models.loading import load_subject
from backlight.models.sites import resolve_sites
from backlight.surveys.layers.measure import setup
from backlight.surveys.layers.measure.profile import Profile
from backlight.surveys.layers.page import views
from backlight.surveys.layers.printed import summary
from backlight.surveys.layers.tables import site_results
from zoo.folders import contents, numbers
from zoo.stopping import stopping
from zoo.subjects import batch_of, subject_of

pytestmark = pytest.mark.usefixtures("place")


def test_fisher_is_the_square_of_the_root_mean_square_of_gradients(options):
    fisher = backlight.layers(**options, aggregate_by="fisher")
    plain = backlight.layers(**options, aggregation_mode="rms")
    powered = backlight.layers(**options, aggregation_mode="rms", power=2)

    found, known = fisher.tables["dimensions"], plain.tables["dimensions"]
    np.testing.assert_allclose(found["mean"], known["rms"] ** 2, rtol=1e-12)
    for layer in range(3):
        array = fisher.data[f"layer_{layer}_mean"]
        np.testing.assert_allclose(array, powered.data[f"layer_{layer}_rms"], rtol=1e-6)
    layers, before = fisher.tables["layers"], plain.tables["layers"]
    np.testing.assert_allclose(layers["mean"], before["rms"] ** 2, rtol=1e-6)
    np.testing.assert_allclose(layers["mean_se"], 2 * before["rms"] * before["rms_se"], rtol=1e-6)
    same = ("participation_ratio", "num_tokens", "num_sequences", "num_dimensions")
    for name in same:
        np.testing.assert_allclose(layers[name], before[name], rtol=1e-12)
    assert layers.units["mean_se"] == found.units["mean"] == "(nats/unit)^2"


def test_squares_of_gradients_too_small_for_float32_are_not_lost():
    subject, batch = subject_of(), batch_of()
    site = subject.sites["layers.1.mlp.out"]
    gradients = torch.full((3, 14, 32), 1e-25) * batch.valid[..., None]
    tape = backlight_tape(batch, site, gradients)
    state = Profile()

    state.update(tape, [site], "fisher")

    np.testing.assert_allclose(state.bank.result(site.name).moments.mean, 1e-50, rtol=1e-5)


def backlight_tape(batch, site, gradients):
    nats = torch.ones(3, dtype=torch.float64)
    return Tape(
        batch=batch, activations={}, gradients={site.name: gradients}, nats=nats, value=nats
    )


def test_hessian_tables_hold_the_means_of_the_probes_and_their_errors(options):
    options = {**options, "dtype": "float64", "batch_size": 3}
    found = backlight.layers(**options, aggregate_by="hessian_diagonal", probes=3, seed=7)

    subject, passages = read(options)
    sites = resolve_sites("mlp.out", subject.sites)
    tape = record_curvature(
        subject,
        Batch.of(passages, range(len(passages.tokens))),
        sites,
        probes=partial(signs, num_probes=3, seed=7),
    )
    table, layers = found.tables["dimensions"], found.tables["layers"]
    lengths = tape.batch.lengths.numpy()[:, None]
    for layer, site in enumerate(sites):
        by_probe = tape.curvatures[site.name].by_probe.numpy()
        own = table.select(table["layer"] == layer)
        sums = by_probe.mean(axis=0)  # several probes of a passage are one passage
        mean = sums.sum(axis=0) / lengths.sum()
        np.testing.assert_allclose(own["mean"], mean, rtol=1e-5, atol=1e-12)
        clusters = len(sums)
        spread = ((sums - lengths * mean) ** 2).sum(axis=0) * clusters / (clusters - 1)
        np.testing.assert_allclose(own["mean_se"], np.sqrt(spread) / lengths.sum(), rtol=1e-4)
        chance = by_probe.var(axis=0, ddof=1).sum(axis=0) / 3
        np.testing.assert_allclose(own["mean_probe_se"], np.sqrt(chance) / lengths.sum(), rtol=1e-4)
        assert layers["mean"][layer] == pytest.approx(mean.mean(), rel=1e-4)
        alone = by_probe.mean(axis=2).var(axis=0, ddof=1).sum() / 3
        assert layers["mean_probe_se"][layer] == pytest.approx(
            np.sqrt(alone) / lengths.sum(), rel=1e-4
        )
    assert set(found.tables) == {"layers", "dimensions"}
    assert "mean_abs" not in table
    assert layers.units["mean_probe_se"] == table.units["mean"] == "nats/unit^2"
    assert found.metadata["num_probes"] == 3


def read(options):
    """The model and the passages of a survey."""
    subject = load_subject(options["model_name"], device="cpu", dtype=options["dtype"])
    rows = RowReader(options["dataset"], passage_length=20).first(500)
    return subject, tokenize(rows, subject.tokenizer, max_length=20)


def test_errors_over_passages_hold_the_chance_of_the_probes():
    """Of passages that are all the same, all that differs is their probes."""
    subject = subject_of(dtype=torch.float64)
    site = subject.sites["layers.1.mlp.out"]
    tokens = np.random.default_rng(0).integers(3, 99, 6)
    passages = Passages(tokens=[tokens] * 40)
    state = Profile()

    for start in range(0, 40, 8):
        batch = Batch.of(passages, range(start, start + 8))
        probes = partial(signs, num_probes=2, seed=0)
        state.update(
            record_curvature(subject, batch, [site], probes=probes), [site], "hessian_diagonal"
        )

    moments = site_results(state, [site])[1].moments
    alone = state.noise.result(site.name).dimensions
    np.testing.assert_allclose(np.mean(moments.mean_se**2) / np.mean(alone**2), 1, atol=0.15)


def test_of_one_probe_its_chance_is_not_known_and_not_told(options):
    found = backlight.layers(**options, aggregate_by="hessian_diagonal", probes=1, layers="1")

    assert np.isnan(found.tables["layers"]["mean_probe_se"]).all()
    assert np.isfinite(found.tables["layers"]["mean_se"]).all()
    assert "chance of the probes" not in " ".join(summary(found))


@pytest.mark.parametrize("quantity", ["fisher", "hessian_diagonal"])
def test_a_stopped_run_goes_on_to_the_same_bytes(quantity, survey, place, no_figures):
    assert cli.main(survey(output_dir="whole", aggregate_by=quantity)) == 0
    with stopping(setup, "profile", 2):
        assert cli.main(survey(output_dir="part", aggregate_by=quantity)) == 130

    assert cli.main(survey(output_dir="part", aggregate_by=quantity, resume=True)) == 0

    assert numbers(place / "part") == numbers(place / "whole")


@pytest.mark.parametrize(
    ("quantity", "names"),
    [
        ("fisher", {"dimensions", "histograms", "layers", "top_tokens"}),
        ("hessian_diagonal", {"dimensions", "layers"}),
    ],
)
def test_a_run_writes_exactly_these_files(quantity, names, survey, place, no_pixels, capsys):
    assert cli.main(survey(output_dir="out", layers="0-1", aggregate_by=quantity)) == 0

    words = capsys.readouterr().out
    assert len(words.splitlines()) <= 24
    files = {"config.yaml", "index.html", "manifest.json", "metadata.json", "depth_profile.png"}
    files |= {"consolidated_results.npz", *(f"tables/{name}.csv" for name in names)}
    files |= {f"passage_groups/layer_{layer}.npz" for layer in (0, 1)}
    files |= {f"token_{quantity}_histograms.png"} if "histograms" in names else set()
    files |= {
        f"layer_{layer}_mean_{end}"
        for layer in (0, 1)
        for end in (f"{quantity}_hist.png", "activation_scatter.png", f"{quantity}.npy")
    }
    files |= {
        f"all_layers_mean_{quantity}_histograms.png",
        "all_layers_mean_activation_scatter.png",
    }
    assert set(contents(place / "out")) == files
    again = load_results(place / "out")
    assert again.config["aggregation_mode"] == "mean"
    assert again.figures["depth_profile"] is not None


def test_what_is_said_of_squares_is_not_said_of_signed_means(options):
    asked, found, sure = summary(backlight.layers(**options, aggregate_by="fisher"))

    assert asked.startswith("The square of the loss's gradient at mlp.out, the diagonal of the emp")
    assert "The squared gradient's mean is largest in layer" in found
    assert "(nats per unit)^2" in found
    assert "away from zero" not in sure


def test_what_is_said_of_second_derivatives_tells_their_probes(options):
    results = backlight.layers(**options, aggregate_by="hessian_diagonal")
    asked, found, sure = summary(results)

    assert "as 2 random probes of each passage find it, was measured in 3 layers" in asked
    assert "The second derivative's mean is furthest from zero in layer" in found
    assert "nats per unit^2" in found
    assert "the chance of the probes alone is" in sure
    profile, cloud, rows = views(results)
    assert profile.charts[-1].series[1].name == "of it, chance of the probes"
    assert [each.name for each in cloud.statistics] == ["mean", "mean_se", "mean_probe_se"]
    assert not cloud.occurrences
    assert "see its tokens" not in cloud.note
    assert rows.table is results.tables["layers"]


def test_how_many_passes_probes_take_is_told_before_they_run(options, caplog):
    caplog.set_level("INFO")

    backlight.layers(**options, aggregate_by="hessian_diagonal", probes=2, layers="0,2")

    # 1 + 2 probes x (0.3 + 0.8 + 0.3 + 0.8 / 3)
    assert "2 probes at 2 layers: about 4.3 forward and backward passes" in caplog.text


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"aggregate_by": "fisher", "aggregation_mode": "rms"}, "mean only: squares have no sign"),
        (
            {"aggregate_by": "hessian_diagonal", "aggregation_mode": "both"},
            "mean only: the size of a noisy estimate is mostly its noise",
        ),
        ({"probes": 3}, "no effect without --aggregate_by hessian_diagonal"),
        ({"aggregate_by": "hessian_diagonal", "probes": 0}, "probes"),
        ({"aggregate_by": "fisher", "path": 2}, "which aggregate_by fisher does not show"),
    ],
)
def test_what_does_not_fit_together_is_refused(options, asked, reason):
    with pytest.raises(ConfigError, match=reason):
        backlight.layers(**options, **asked)


@pytest.mark.parametrize(
    ("quantity", "reason"),
    [
        ("fisher", "rms squared: --aggregation_mode rms --power 2"),
        ("hessian_diagonal", "measured at sites, by `backlight layers`, not at features"),
    ],
)
def test_features_have_no_second_order_of_their_own(options, quantity, reason):
    with pytest.raises(ConfigError, match=reason):
        backlight.sae(**options, sae_path="x", aggregate_by=quantity)
