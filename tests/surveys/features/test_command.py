"""``backlight sae`` from the command line and from Python, on a tiny model."""

import json
import re
import shutil
from itertools import product

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from backlight import cli, load_results, load_subject, sae
from backlight.errors import ConfigError, DictionaryError, RunDirectoryError, UnknownLayerError
from backlight.surveys.driver.words import progress
from backlight.surveys.features import figures, tables
from backlight.surveys.features.measure import setup
from zoo.dictionaries import NUM_FEATURES, SaeLensLike, random_dictionary, written

LAYERS = (0, 1, 2)


def written_across(folder, *, width=32, num_layers=3, num_features=40):
    """Write a cross-layer transcoder of random numbers in circuit-tracer's layout."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    for i in LAYERS:
        encoder = {
            f"W_enc_{i}": normal(num_features, width),
            f"b_enc_{i}": normal(num_features),
            f"b_dec_{i}": normal(width),
        }
        save_file(encoder, folder / f"W_enc_{i}.safetensors")
        decoder = {f"W_dec_{i}": normal(num_features, num_layers - i, width)}
        save_file(decoder, folder / f"W_dec_{i}.safetensors")
    told = "model_kind: cross_layer_transcoder\nfeature_input_hook: hook_resid_mid\n"
    (folder / "config.yaml").write_text(told + "feature_output_hook: hook_mlp_out\n")
    return folder


@pytest.fixture(scope="session")
def dictionaries(tmp_path_factory):
    return written(tmp_path_factory.mktemp("dictionaries"))


@pytest.fixture
def asked(options, dictionaries):
    """Options of a survey; random dictionaries reconstruct nothing, so that must be allowed."""
    return {**options, "sae_path": str(dictionaries), "allow_poor_reconstruction": True}


@pytest.fixture
def words(asked):
    def written(**others):
        line = ["sae"]
        for name, value in {**asked, **others}.items():
            line += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return line

    return written


@pytest.fixture
def plain(monkeypatch):
    """Leave figures out."""
    monkeypatch.setattr(figures, "draw", lambda results: iter(()))


def test_a_run_leaves_the_files_that_the_seed_names(asked, tmp_path, no_pixels):
    results = sae(**asked, aggregation_mode="both", output_dir=tmp_path / "run")

    files = set(json.loads((tmp_path / "run" / "manifest.json").read_text())["files"])
    for layer, mode in product(LAYERS, ("mean", "mean_abs")):
        assert f"layer_{layer}_{mode}_gradients.npy" in files
        assert f"layer_{layer}_{mode}_gradient_hist.png" in files
        assert f"layer_{layer}_{mode}_feature_scatter.png" in files
        assert f"layer_{layer}_gradient_hist_combined.png" in files
        assert f"layer_{layer}_gradient_scatter_combined.png" in files
    for mode in ("mean", "mean_abs"):
        assert f"all_layers_{mode}_gradient_histograms.png" in files
        assert f"all_layers_{mode}_feature_scatter.png" in files
    array = np.load(tmp_path / "run" / "layer_1_mean_gradients.npy")
    assert (array.dtype, array.shape) == (np.float32, (NUM_FEATURES,))
    np.testing.assert_array_equal(array, results.data["layer_1_mean"])


def test_an_automatic_directory_is_named_as_the_seeds(asked, tmp_path, monkeypatch, plain):
    monkeypatch.chdir(tmp_path)
    sae(**asked, save_outputs=True, layers="0,2")

    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("sae_features_model_")
    assert "_num_samples_500_batch_size_3_layers_0_2_" in run.name


@pytest.mark.parametrize(
    "others",
    [
        {"splice": "error", "aggregation_mode": "mean"},
        {"splice": "error", "aggregation_mode": "rms"},
        {"aggregation_mode": "both"},
        {"active_only": True, "aggregation_mode": "mean"},
        {"splice": "error", "aggregate_by": "values"},
        {"splice": "error", "aggregate_by": "grad_x_act", "power": 2, "normalize": "both"},
    ],
    ids=lambda others: "-".join(map(str, others.values())),
)
def test_every_way_to_ask_is_answered_and_drawn(words, others, tmp_path, no_pixels, capsys):
    line = words(output_dir=tmp_path / "run", layers="0,2", **others)

    assert cli.main(line) == 0

    out = capsys.readouterr().out
    assert "where it mattered most" in out
    results = load_results(tmp_path / "run")
    assert results.tables["top_features"]["layer"].tolist()[0] == 0
    for name in ("mean", "mean_se", "rms", "frequency", "decoder_norm"):
        assert results.statistics[f"layer_2_{name}"].shape == (NUM_FEATURES,)


def test_results_in_memory_are_those_on_disk(asked, tmp_path, plain):
    fresh = sae(**asked, splice="error", output_dir=tmp_path / "run")
    read = load_results(tmp_path / "run")

    for name, array in fresh.data.items():
        np.testing.assert_array_equal(read.data[name], array)
    for name, array in fresh.statistics.items():
        np.testing.assert_array_equal(read.statistics[name], array)
    assert set(read.tables) == {"layers", "dictionaries", "top_features", "top_tokens"}


def test_every_figure_is_redrawn_from_disk_to_the_same_bytes(asked, tmp_path):
    sae(**asked, aggregation_mode="both", layers="0,1", output_dir=tmp_path / "run")
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").glob("*.png")}
    for name in before:
        (tmp_path / "run" / name).unlink()

    assert cli.main(["report", str(tmp_path / "run")]) == 0

    after = {file.name: file.read_bytes() for file in (tmp_path / "run").glob("*.png")}
    assert after == before
    assert len(after) > 15


@pytest.mark.parametrize("splice", ["replace", "error"])
def test_a_stopped_survey_goes_on_to_the_same_bytes(words, splice, tmp_path, monkeypatch, plain):
    monkeypatch.setattr(progress, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "CHECKPOINT_PATIENCE", 0)
    options = {"splice": splice, "aggregation_mode": "both", "chunk_memory": "10KB"}
    assert cli.main(words(**options, output_dir=tmp_path / "whole")) == 0
    measured = setup.survey_features

    def stopping(*args, **kwargs):
        for number, step in enumerate(measured(*args, **kwargs)):
            if number == 12:
                raise KeyboardInterrupt
            yield step

    with monkeypatch.context() as patch:
        patch.setattr(setup, "survey_features", stopping)
        assert cli.main(words(**options, output_dir=tmp_path / "run")) == 130
    steps = []

    def counting(*args, **kwargs):
        for step in measured(*args, **kwargs):
            steps.append(step.num_tokens)
            yield step

    monkeypatch.setattr(setup, "survey_features", counting)
    assert cli.main(words(**options, output_dir=tmp_path / "run", resume=True)) == 0

    whole, resumed = load_results(tmp_path / "whole"), load_results(tmp_path / "run")
    assert 0 < sum(steps) < 3 * 247
    for name, array in whole.statistics.items():
        np.testing.assert_array_equal(resumed.statistics[name], array)
    for name in ("layers", "top_features", "top_tokens"):
        assert (tmp_path / "run" / "tables" / f"{name}.csv").read_bytes() == (
            tmp_path / "whole" / "tables" / f"{name}.csv"
        ).read_bytes()


def test_a_run_is_not_gone_on_with_other_dictionaries(words, tmp_path, monkeypatch, plain, capsys):
    folder = written(tmp_path / "saes")
    line = {"sae_path": folder, "output_dir": tmp_path / "run"}

    def stopping(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(setup, "survey_features", stopping)
        assert cli.main(words(**line)) == 130
    shutil.rmtree(folder)
    written(folder, seed=7)

    assert cli.main(words(**line, resume=True)) == 2
    error = capsys.readouterr().err
    assert "The dictionaries changed since the run" in error
    assert "0.explained_variance" in error


def test_the_first_token_with_splice_replace_counts_every_fourth(asked, plain):
    replaced, kept = sae(**asked), sae(**asked, splice="error")

    assert kept.tables["layers"]["num_tokens"][0] == 247
    assert 247 / 4 <= replaced.tables["layers"]["num_tokens"][0] <= 247 / 4 + 14


def test_a_loaded_model_and_loaded_dictionaries_give_the_same_numbers(asked, options, plain):
    by_path = sae(**asked, layers="1")
    subject = load_subject(options["model_name"], device="cpu")
    loaded = {1: random_dictionary(32, dtype=torch.float32, seed=1)}
    rest = {name: asked[name] for name in ("dataset", "batch_size", "max_length")}

    found = sae(
        subject=subject,
        dictionaries=loaded,
        site="mlp.out",
        allow_poor_reconstruction=True,
        **rest,
    )

    np.testing.assert_allclose(
        found.data["layer_1_mean_abs"], by_path.data["layer_1_mean_abs"], rtol=1e-5
    )


def test_poor_reconstruction_is_an_error_that_names_the_way_out(asked):
    options = {**asked, "allow_poor_reconstruction": False}
    with pytest.raises(
        DictionaryError,
        match=r"explains -?\d.* of the variance at layers\.0\.mlp\.out .*--allow_poor_reconstr",
    ):
        sae(**options)


def test_allowed_poor_reconstruction_is_kept_in_the_manifest(asked, tmp_path, plain, caplog):
    sae(**asked, layers="1", output_dir=tmp_path / "run")

    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert "of the variance at layers.1.mlp.out" in manifest["poor_reconstruction"]["1"]
    assert any("of the variance" in record.message for record in caplog.records)


def test_a_dictionary_of_another_model_is_told_of(asked, tmp_path, plain, caplog):
    folder = written(tmp_path / "saes", model="google/gemma-2-2b")
    results = sae(**{**asked, "sae_path": str(folder)})

    assert results.metadata["dictionaries_of_other_models"] == ["google/gemma-2-2b"]
    assert "trained on google/gemma-2-2b" in caplog.text


def test_a_dictionary_of_another_width_is_refused(asked, tmp_path):
    folder = written(tmp_path / "saes", width=48)
    with pytest.raises(DictionaryError, match=r"vectors of 48 numbers, but layers\.0\.mlp\.out"):
        sae(**{**asked, "sae_path": str(folder)})


def test_dictionaries_beyond_the_model_are_refused(asked, tmp_path):
    folder = written(tmp_path / "saes", layers=(1, 7))
    with pytest.raises(DictionaryError, match=r"for layers 7, but .* has 3 layers"):
        sae(**{**asked, "sae_path": str(folder)})


def test_missing_layers_are_listed(asked, tmp_path):
    folder = written(tmp_path / "saes", layers=(1,))
    with pytest.raises(DictionaryError, match=r"no dictionary for layers 0, 2 in .* only for lay"):
        sae(**{**asked, "sae_path": str(folder)}, layers="0-2")


def test_layers_beyond_the_model_are_refused(asked):
    with pytest.raises(UnknownLayerError, match=r"go beyond this model: it has 3 layers"):
        sae(**asked, layers="0-9")


def test_without_dictionaries_the_way_to_some_is_told(options):
    with pytest.raises(ConfigError, match=r"--sae_path FOLDER .* train-sae"):
        sae(**options)


def test_objects_of_another_library_give_the_same_numbers_as_their_files(asked, dictionaries):
    objects = {}
    for layer in LAYERS:
        ours = random_dictionary(32, dtype=torch.float32, seed=layer)
        folder = dictionaries / f"layer_{layer}"
        objects[layer] = SaeLensLike(folder, lambda x, ours=ours: ours.encode(x).dense())
    from_files = sae(**asked)

    del asked["sae_path"]
    found = sae(**asked, dictionaries=objects)

    assert found.tables["dictionaries"]["reads"].tolist() == [
        f"layers.{layer}.mlp.out" for layer in LAYERS
    ]
    for name, array in from_files.statistics.items():
        assert np.array_equal(array, found.statistics[name], equal_nan=True)


def test_an_object_that_is_no_dictionary_is_refused(asked):
    del asked["sae_path"]
    with pytest.raises(DictionaryError, match=r"A int is no dictionary: it has no encode\(\)"):
        sae(**asked, dictionaries={0: 15})


def test_two_sources_of_dictionaries_are_refused(asked):
    with pytest.raises(ConfigError, match=r"Both dictionaries and sae_path are given"):
        sae(**asked, dictionaries={0: random_dictionary(32)})
    with pytest.raises(ConfigError, match=r"dictionaries is empty"):
        sae(model_name="nowhere", dictionaries={})


@pytest.mark.parametrize("memory", ["lots", "-1GB", "1TB", "5"])
def test_a_memory_that_is_none_is_refused(asked, memory):
    with pytest.raises(ConfigError, match=r"chunk_memory"):
        sae(**asked, chunk_memory=memory)


def test_an_occupied_directory_is_refused(asked, tmp_path, plain):
    sae(**asked, layers="0", output_dir=tmp_path / "run")
    with pytest.raises(RunDirectoryError, match=r"--overwrite"):
        sae(**asked, layers="0", output_dir=tmp_path / "run")


def test_the_largest_features_of_every_mode_are_in_the_table(asked, plain, monkeypatch):
    monkeypatch.setattr(tables, "_NUM_RANKED", 3)
    results = sae(**asked, splice="error", aggregation_mode="both", layers="0,1")

    table = results.tables["top_features"]
    for layer in (0, 1):
        own = table.select(table["layer"] == layer)
        assert 3 <= own.num_rows <= 6
        for mode in ("mean", "mean_abs"):
            sizes = np.abs(results.statistics[f"layer_{layer}_{mode}"])
            order = np.argsort(-sizes, kind="stable")
            ranked = dict(zip(own[f"rank_{mode}"], own["feature"], strict=True))
            assert [ranked[rank] for rank in (1, 2, 3)] == order[:3].tolist()
        assert own["rank_mean"].tolist() == sorted(own["rank_mean"])


WARNINGS = ("relative_size", "predicted_change", "warning_index", "likely_wrong")


def test_features_that_are_encoded_carry_the_warning_index(asked):
    results = sae(**asked, layers="0,2")

    table = results.tables["top_features"]
    for name in WARNINGS:
        own = table["layer"] == 2
        found = results.statistics[f"layer_2_{name}"]
        assert found.shape == (NUM_FEATURES,)
        np.testing.assert_array_equal(table[name][own], found[table["feature"][own]])
    assert (table["relative_size"] > 0).any()
    assert (table.units["predicted_change"], table.units["warning_index"]) == ("nats", "1/nats")
    assert "no_warning_index" not in results.metadata


def test_the_closed_form_encodes_for_the_index_only_if_it_is_asked_to_and_tells_the_cost(
    asked, caplog
):
    plain = sae(**asked, splice="error", position_stride=1)
    assert not any("relative_size" in name for name in plain.statistics)
    assert plain.metadata["no_warning_index"] == "tokens are not encoded, which --warn does"
    caplog.clear()
    with caplog.at_level("INFO"):
        warned = sae(**asked, splice="error", position_stride=1, warn=True)

    assert re.search(r"--warn encodes [\d,]+ tokens in 3 layers: about [\d.]+ s", caplog.text)
    for name, values in plain.statistics.items():
        if not name.endswith("frequency"):  # that of all tokens is better than that of a batch
            np.testing.assert_array_equal(warned.statistics[name], values)
    size, change = (warned.statistics[f"layer_1_{name}"] for name in WARNINGS[:2])
    assert (size > 0).any()
    # Minus its gradient times activation, by which it is measured where that is asked for.
    other = sae(**asked, splice="error", position_stride=1, aggregate_by="grad_x_act")
    num_tokens, num_passages = (int(other.tables["layers"][f"num_{of}"][1]) for of in TOTALS)
    np.testing.assert_allclose(
        change, -other.statistics["layer_1_mean"] * num_tokens / num_passages, rtol=1e-4, atol=1e-9
    )
    np.testing.assert_allclose(size, other.statistics["layer_1_relative_size"], rtol=1e-6)


TOTALS = ("tokens", "sequences")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"path": 2}, "gradients are averages along paths"),
        ({"backward": "frozen"}, "gradients go back by the rule frozen"),
    ],
)
def test_where_gradients_are_not_the_plain_ones_there_is_no_index_and_the_run_says_why(
    asked, more, reason
):
    with pytest.raises(ConfigError, match=f"There is no warning index: {reason}.*--warn"):
        sae(**asked, **more, layers="1", splice="error", warn=True)

    results = sae(**asked, **more, layers="1")

    assert results.metadata["no_warning_index"] == reason
    assert not set(WARNINGS) & set(results.tables["top_features"])


def test_a_cross_layer_transcoder_is_measured_at_all_sites_that_it_writes(asked, tmp_path, plain):
    across = str(written_across(tmp_path / "across"))

    found = sae(**{**asked, "sae_path": across, "splice": "error"})

    table = found.tables["dictionaries"]
    assert list(table["reads"]) == [f"layers.{i}.resid.mid" for i in LAYERS]
    assert list(table["writes"]) == [
        "layers.0.mlp.out to layers.2.mlp.out",
        "layers.1.mlp.out to layers.2.mlp.out",
        "layers.2.mlp.out",
    ]
    assert found.statistics["layer_0_rms"].shape == (NUM_FEATURES,)
    assert found.metadata["no_warning_index"] == (
        "features of a cross-layer transcoder add to the residual stream at several layers"
    )


def test_the_sites_of_a_cross_layer_transcoder_are_told_by_the_first_and_the_last(
    words, tmp_path, plain, capsys
):
    across = str(written_across(tmp_path / "across"))

    assert cli.main(words(sae_path=across, splice="error")) == 0

    told = " ".join(capsys.readouterr().out.split())
    assert "was measured at layers.0.mlp.out to layers.2.mlp.out of" in told


def test_a_cross_layer_transcoder_cannot_take_the_place_of_one_layer(asked, tmp_path):
    across = str(written_across(tmp_path / "across"))

    with pytest.raises(ConfigError, match=r"made of features of all earlier layers too"):
        sae(**{**asked, "sae_path": across, "splice": "replace"})
    with pytest.raises(ConfigError, match=r"There is no warning index: features of a cross-layer"):
        sae(**{**asked, "sae_path": across, "splice": "error", "warn": True})
