import errno
import io
import json
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

import backlight
from backlight import cli
from backlight.analysis.aggregate import normalize, signed_power
from backlight.commands import layers as command
from backlight.commands import session
from backlight.config import LayersConfig
from backlight.errors import ConfigError, RunDirectoryError, StorageError, UnsupportedSiteError
from backlight.runs import files
from zoo.folders import contents

TABLES = [f"tables/{name}.csv" for name in ("dimensions", "histograms", "layers", "top_tokens")]
ALWAYS = {
    "config.yaml",
    "manifest.json",
    "metadata.json",
    "consolidated_results.npz",
    "timing_stats.json",
    "timing_summary.txt",
    "depth_profile.png",
    *TABLES,
}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def numbers(folder):
    """Read all that was measured: arrays and tables byte by byte, archives array by array."""
    found = {}
    for name, content in contents(folder).items():
        if name.endswith((".npy", ".csv")):
            found[name] = content
        elif name.endswith(".npz"):
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                found |= {f"{name}/{key}": arrays[key].tobytes() for key in arrays if key[0] == "l"}
    return found


def rows_of(path):
    return [row for row in Path(path).read_text(encoding="utf-8").splitlines() if len(row) > 50]


def plain_gradients(options, layers):
    """Differentiate the plain Transformers loss of each row at each MLP output, row by row."""
    model = AutoModelForCausalLM.from_pretrained(options["model_name"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(options["model_name"])
    held = {}
    for layer in layers:
        model.model.layers[layer].mlp.register_forward_hook(
            lambda module, inputs, output, layer=layer: held.update({layer: output})
        )
    found = {layer: [] for layer in layers}
    for row in rows_of(options["dataset"]):
        ids = tokenizer(row, truncation=True, max_length=20, return_tensors="pt")["input_ids"]
        loss = model(input_ids=ids, labels=ids).loss
        for layer, gradient in zip(
            layers, torch.autograd.grad(loss, [held[layer] for layer in layers]), strict=True
        ):
            found[layer].append(gradient[0].double())
    return {layer: torch.cat(rows).numpy() for layer, rows in found.items()}


def test_the_numbers_are_those_of_the_plain_loss(options):
    results = backlight.layers(**options, aggregation_mode="both")

    for layer, oracle in plain_gradients(options, (0, 1, 2)).items():
        for mode, expected in (("mean", oracle.mean(0)), ("mean_abs", np.abs(oracle).mean(0))):
            found = results.data[f"layer_{layer}_{mode}"]
            assert np.abs(found - expected).max() <= 1e-5 * np.abs(oracle).mean()


def test_nothing_is_written_unless_asked_for(options, survey, place, capsys):
    results = backlight.layers(**options, layers="1")
    assert cli.main(survey()) == 0

    assert list(place.iterdir()) == []
    assert list(results.data) == ["layer_1_mean_abs"]
    assert results.path == place
    assert results.config["layers"] == "1"
    assert "Results " not in capsys.readouterr().out


def test_results_are_named_as_the_seed_named_them(survey, options, place, no_figures):
    assert cli.main(survey(save_outputs=True, layers="0,2", num_samples=5)) == 0

    (run,) = (place / "runs").iterdir()
    model = options["model_name"].strip("/").replace("/", "_")
    assert re.fullmatch(
        rf"layer_activations_model_{re.escape(model)}_num_samples_5_batch_size_3_layers_0_2"
        r"_\d{8}_\d{6}",
        run.name,
    )


def layer_files(names, layers, noun="gradient", quantity="gradients"):
    return {
        f"layer_{layer}_{name}_{end}"
        for layer in layers
        for name in names
        for end in (f"{noun}_hist.png", "activation_scatter.png", f"{quantity}.npy")
    }


def all_layers_files(names, noun="gradient"):
    return {
        f"all_layers_{name}_{end}.png"
        for name in names
        for end in (f"{noun}_histograms", "activation_scatter")
    }


def test_mean_abs_writes_exactly_these_files(survey, place, no_pixels):
    assert cli.main(survey(output_dir="out", layers="0-1")) == 0

    assert set(contents(place / "out")) == (
        ALWAYS
        | layer_files(["mean_abs"], (0, 1))
        | all_layers_files(["mean_abs"])
        | {"token_gradient_histograms.png"}
    )
    listed = json.loads((place / "out" / "manifest.json").read_text(encoding="utf-8"))["files"]
    assert set(listed) | {"manifest.json"} == set(contents(place / "out"))


def test_both_writes_exactly_these_files(finished_run):
    combined = {
        f"layer_{layer}_gradient_{kind}_combined.png"
        for layer in (0, 2)
        for kind in ("hist", "scatter")
    }
    assert set(contents(finished_run)) == (
        ALWAYS
        | layer_files(["mean", "mean_abs"], (0, 2))
        | all_layers_files(["mean", "mean_abs"])
        | combined
        | {"token_gradient_histograms.png", "mean_against_mean_abs.png"}
    )


def test_two_normalisations_write_exactly_these_files(survey, place, no_pixels):
    words = survey(output_dir="out", layers="1", aggregation_mode="both", normalize="both")
    assert cli.main(words) == 0

    names = [f"{mode}_norm_{norm}" for mode in ("mean", "mean_abs") for norm in ("sum", "sum_abs")]
    combined = {
        f"layer_1_norm_{norm}_gradient_{kind}_combined.png"
        for norm in ("sum", "sum_abs")
        for kind in ("hist", "scatter")
    }
    assert set(contents(place / "out")) == (
        ALWAYS
        | layer_files(names, (1,))
        | combined
        | {"token_gradient_histograms.png", "mean_against_mean_abs.png"}
    )


@pytest.mark.parametrize(("quantity", "noun"), [("values", "value"), ("grad_x_act", "grad_x_act")])
def test_other_quantities_write_exactly_these_files(survey, place, no_pixels, quantity, noun):
    assert cli.main(survey(output_dir="out", layers="1", aggregate_by=quantity)) == 0

    assert set(contents(place / "out")) == (
        ALWAYS | layer_files(["mean_abs"], (1,), noun, quantity) | {f"token_{noun}_histograms.png"}
    )


def test_arrays_are_single_precision_and_one_number_for_each_dimension(finished_run):
    for layer in (0, 2):
        for mode in ("mean", "mean_abs"):
            array = np.load(
                finished_run / f"layer_{layer}_{mode}_gradients.npy", allow_pickle=False
            )
            assert (array.dtype, array.shape) == (np.float32, (32,))
            assert np.isfinite(array).all()


def test_the_archive_holds_the_same_arrays_and_needs_no_pickle(finished_run):
    with np.load(finished_run / "consolidated_results.npz", allow_pickle=False) as archive:
        names = [f"layer_{layer}_{mode}" for mode in ("mean", "mean_abs") for layer in (0, 2)]
        assert set(archive) == {*names, "metadata"}
        for name in names:
            np.testing.assert_array_equal(
                archive[name], np.load(finished_run / f"{name}_gradients.npy")
            )
        brief = json.loads(str(archive["metadata"]))
    assert brief["layers"] == [0, 2]
    assert brief["aggregation_mode"] == "both"


def test_tables_and_arrays_agree(finished_run):
    results = backlight.load_results(finished_run)

    table = results.tables["dimensions"]
    for layer in (0, 2):
        for mode in ("mean", "mean_abs"):
            column = table[mode][table["layer"] == layer].astype(np.float32)
            np.testing.assert_array_equal(results.data[f"layer_{layer}_{mode}"], column)
    assert table.units["mean_abs_se"] == "nats/unit"


def test_metadata_says_what_the_seed_s_said(finished_run, options):
    said = json.loads((finished_run / "metadata.json").read_text(encoding="utf-8"))

    info = said["experiment_info"]
    assert set(info) == {
        *("model_name", "num_samples", "batch_size", "max_length", "device", "timestamp")
    }
    assert (info["model_name"], info["num_samples"]) == (options["model_name"], 500)
    assert (info["batch_size"], info["max_length"], info["device"]) == (3, 20, "cpu")
    analysis = said["analysis_config"]
    assert analysis["layers"] == [0, 2]
    assert analysis["aggregation_mode"] == "both"
    assert (analysis["normalization_mode"], analysis["aggregate_by"]) == ("none", "gradients")
    assert analysis["power"] is None
    assert said["dimension_info"] == {"layer_0": 32, "layer_2": 32}
    values = np.load(finished_run / "layer_2_mean_gradients.npy")
    assert said["layer_statistics"]["layer_2"]["mean"] == pytest.approx(
        {
            "mean": values.mean(),
            "std": values.std(),
            "max": np.abs(values).max(),
            "sum_abs": np.abs(values).sum(),
        }
    )
    assert set(said["layer_statistics"]) == {"layer_0", "layer_2"}
    assert said["timing_stats"].keys() >= {
        *("model_loading", "dataset_preparation", "total_runtime")
    }
    assert set(said["per_layer_timing"]) == {"0", "2"}
    assert said["corpus"]["num_passages"] == 14


def test_metadata_says_how_to_read_the_results(finished_run, monkeypatch):
    how = json.loads((finished_run / "metadata.json").read_text(encoding="utf-8"))[
        "loading_instructions"
    ]

    assert (finished_run / how["npz_file"]).is_file()
    assert (finished_run / how["individual_npy"].format(i=2, mode="mean")).is_file()
    read = {}
    exec(how["example_code"].replace("backlight.load", "found = backlight.load"), read)
    assert "layer_2_mean" in read["found"].data


def test_seconds_are_told_for_the_whole_and_for_each_layer(finished_run):
    timing = json.loads((finished_run / "timing_stats.json").read_text(encoding="utf-8"))

    overall = timing["overall"]
    assert overall["total_runtime"] >= overall["model_loading"] + overall["gradient_computation"]
    for layer in ("0", "2"):
        parts = timing["per_layer"][layer]
        assert set(parts) == {"gradient_computation", "plots", "save_data", "total"}
        assert parts["plots"] > 0
        assert parts["total"] == pytest.approx(
            parts["gradient_computation"] + parts["plots"] + parts["save_data"]
        )
    summary = (finished_run / "timing_summary.txt").read_text(encoding="utf-8")
    assert "total_runtime" in summary
    assert "layer 2" in summary


def test_the_config_holds_all_options_and_where_numbers_came_from(finished_run):
    kept = yaml.safe_load((finished_run / "config.yaml").read_text(encoding="utf-8"))

    origin = kept.pop("provenance")
    assert set(kept) == set(LayersConfig.model_fields) - {"output_dir", "overwrite", "resume"}
    assert (kept["save_outputs"], kept["layers"], kept["batch_size"]) == (True, "0,2", 3)
    assert origin["command"] == "layers"
    assert {"torch", "transformers", "numpy", "backlight", "started"} <= set(origin)
    assert origin["model"]["attention_kernel"]
    assert re.fullmatch(r"[0-9a-f]{64}", origin["corpus"]["tokens_sha256"])
    assert "pads count nowhere" in origin["masks"]


@pytest.mark.parametrize("how", ["flag", "place"])
def test_a_run_can_be_repeated_from_its_own_config(finished_run, place, no_figures, how):
    config = str(finished_run / "config.yaml")
    words = ["layers", config] if how == "place" else ["layers", "--config", config]

    assert cli.main(words) == 0

    (again,) = (place / "runs").iterdir()
    assert numbers(again) == numbers(finished_run)


def test_the_table_is_printed_with_errors_and_where_results_went(survey, place, capsys, no_figures):
    assert cli.main(survey(output_dir="out", aggregation_mode="both")) == 0

    out = capsys.readouterr().out
    table = backlight.load_results(place / "out").tables["layers"]
    for layer in range(3):
        (row,) = [line for line in out.splitlines() if line.startswith(f"│     {layer} │")]
        for column in ("mean", "mean_se", "mean_abs", "mean_abs_se", "mean_abs_max"):
            assert f"{table[column][layer]:.3e}" in row, column
    assert "247 tokens in 14 passages" in out
    assert re.search(r"Results +out\n", out)
    assert "backlight report out" in out


def test_power_comes_before_normalisation_in_the_arrays(options):
    plain = backlight.layers(**options, layers="1", aggregation_mode="mean")
    bent = backlight.layers(
        **options, layers="1", aggregation_mode="mean", power=0.5, normalize="both"
    )

    column = plain.tables["dimensions"]["mean"]
    for norm in ("sum", "sum_abs"):
        expected = normalize(signed_power(column, 0.5), norm).astype(np.float32)
        np.testing.assert_array_equal(bent.data[f"layer_1_mean_norm_{norm}"], expected)


def test_activations_have_no_loss(options, capsys):
    results = backlight.layers(**options, aggregate_by="values", aggregation_mode="rms")

    assert results.metadata["loss_nats_per_token"] is None
    assert results.tables["layers"].units["rms"] == "units"
    assert "Loss" not in capsys.readouterr().out


def test_the_loss_is_that_of_all_predicted_tokens(options):
    results = backlight.layers(**options)

    model = AutoModelForCausalLM.from_pretrained(options["model_name"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(options["model_name"])
    nats, predicted = 0.0, 0
    with torch.no_grad():
        for row in rows_of(options["dataset"]):
            ids = tokenizer(row, truncation=True, max_length=20, return_tensors="pt")["input_ids"]
            nats += float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
            predicted += ids.shape[1] - 1
    assert results.metadata["loss_nats_per_token"] == pytest.approx(nats / predicted, rel=1e-5)


@pytest.mark.parametrize("site", ["resid.post", "attn.z", "norm2.in", "model.layers.*.mlp"])
def test_any_site_that_layers_have_can_be_surveyed(options, site):
    assert len(backlight.layers(**options, site=site).data) == 3


def test_a_site_in_several_places_of_a_layer_is_refused(options):
    with pytest.raises(UnsupportedSiteError, match=r"more than one site in a layer"):
        backlight.layers(**options, site="resid.*")


def test_keywords_are_checked_like_flags(options):
    with pytest.raises(ConfigError, match=r"num_sample: no such option\. Did you mean num_samples"):
        backlight.layers(**options, num_sample=1)


# --- Stopping and going on ---------------------------------------------------------------------


@pytest.fixture
def checkpoint_often(monkeypatch):
    """Keep a checkpoint after every batch."""
    monkeypatch.setattr(session, "CHECKPOINT_SECONDS", 0.0)


@contextmanager
def stopping_after(num_batches):
    """Make a survey stop, as by control-C, after some batches."""
    real = command.profile

    def interrupted(*args, **kwargs):
        steps = real(*args, **kwargs)
        for _ in range(num_batches):
            yield next(steps)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "profile", interrupted)
        yield


@contextmanager
def disk_full_at(num_writes):
    """Let the disk be full when a file is brought to it for the given time."""
    real, done = files.os.fsync, []

    def fsync(descriptor):
        done.append(descriptor)
        if len(done) >= num_writes:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.os, "fsync", fsync)
        yield


@pytest.fixture
def whole(survey, place, no_figures):
    """What an uninterrupted survey finds."""
    assert cli.main(survey(output_dir="whole", aggregation_mode="both")) == 0
    found = numbers(place / "whole")
    assert len(found) == 3 * 2 * 2 + len(TABLES)
    return found


@pytest.mark.parametrize("num_batches", [0, 1, 2, 4, 5])
def test_a_survey_that_was_stopped_goes_on_to_the_same_bytes(
    survey, place, monkeypatch, whole, checkpoint_often, num_batches
):
    with stopping_after(num_batches):
        assert cli.main(survey(output_dir="out", aggregation_mode="both")) == 130
    kept = {"checkpoint.npz"} if num_batches else set()
    assert set(contents(place / "out")) == {"config.yaml", *kept}
    real, left = command.profile, []

    def counting(subject, passages, batches, state, **options):
        left.append(len(batches) - state.num_batches)
        return real(subject, passages, batches, state, **options)

    monkeypatch.setattr(command, "profile", counting)
    assert cli.main(survey(output_dir="out", aggregation_mode="both", resume=True)) == 0

    assert left == [5 - num_batches]
    assert numbers(place / "out") == whole
    assert "checkpoint.npz" not in contents(place / "out")


def test_a_survey_stopped_twice_goes_on_twice(survey, place, whole, checkpoint_often):
    for words in (survey(output_dir="out", aggregation_mode="both"),) + 2 * (
        survey(output_dir="out", aggregation_mode="both", resume=True),
    ):
        with stopping_after(1):
            assert cli.main(words) == 130

    assert cli.main(survey(output_dir="out", aggregation_mode="both", resume=True)) == 0
    assert numbers(place / "out") == whole


def test_a_survey_stopped_while_results_are_written_goes_on(survey, place, monkeypatch, whole):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("backlight.runs.directory.RunDirectory.finish", stop)
        assert cli.main(survey(output_dir="out", aggregation_mode="both")) == 130

    assert cli.main(survey(output_dir="out", aggregation_mode="both", resume=True)) == 0
    assert numbers(place / "out") == whole


@pytest.mark.parametrize(
    "num_writes",
    [1, 2, 4, 8, 10, 16, 22],
    ids=["config", "1st checkpoint", "3rd checkpoint", "array", "3rd array", "table", "manifest"],
)
def test_a_full_disk_loses_nothing(survey, place, whole, checkpoint_often, capsys, num_writes):
    capsys.readouterr()
    with disk_full_at(num_writes):
        assert cli.main(survey(output_dir="out", aggregation_mode="both")) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.fullmatch(
        r"backlight: 'out/.*' cannot be written: No space left on device\. "
        r"What was saved before is intact; make room and go on with --resume\.",
        told,
    )
    held = contents(place / "out")
    assert not [name for name in held if name.endswith(".part")]
    assert ("checkpoint.npz" in held) == (num_writes > 2)
    assert "manifest.json" not in held
    if num_writes > 2:
        with np.load(io.BytesIO(held["checkpoint.npz"]), allow_pickle=False) as state:
            assert state["counts"][0] == min(num_writes - 2, 5)

    assert cli.main(survey(output_dir="out", aggregation_mode="both", resume=True)) == 0
    assert numbers(place / "out") == whole


def test_a_full_disk_is_an_error_of_its_own(options, place, no_figures):
    with (
        disk_full_at(1),
        pytest.raises(StorageError, match=r"out/config\.yaml' cannot be written: No space left"),
    ):
        backlight.layers(**options, output_dir="out")


def test_the_newest_unfinished_run_with_the_same_options_goes_on(
    survey, place, whole, checkpoint_often
):
    with stopping_after(2):
        assert cli.main(survey(save_outputs=True, aggregation_mode="both")) == 130
    (run,) = (place / "runs").iterdir()

    assert cli.main(survey(resume=True, aggregation_mode="both")) == 0

    assert list((place / "runs").iterdir()) == [run]
    assert numbers(run) == whole


def test_where_results_go_is_no_difference_to_resume_by(options, place, no_figures):
    with stopping_after(1), pytest.raises(KeyboardInterrupt):
        backlight.layers(**options, save_outputs=True)
    (run,) = (place / "runs").iterdir()

    assert backlight.layers(**options, resume=True, output_dir=run).path == run


def test_to_resume_where_nothing_is_starts_a_run(survey, place, no_figures):
    assert cli.main(survey(output_dir="out", resume=True)) == 0

    assert backlight.load_results(place / "out").metadata["num_tokens"] == 247


def test_to_resume_a_finished_run_shows_it_and_changes_nothing(
    survey, place, monkeypatch, no_figures, capsys
):
    assert cli.main(survey(output_dir="out")) == 0
    first, before = capsys.readouterr().out, contents(place / "out")
    monkeypatch.setattr(command, "load_subject", None)  # it is not needed

    assert cli.main(survey(output_dir="out", resume=True)) == 0

    assert capsys.readouterr().out == first
    assert contents(place / "out") == before


def test_text_that_has_changed_is_not_mixed_with_what_was_measured(
    options, place, checkpoint_often, capsys
):
    rows = [f"{'light falls through every layer of the model ' * 2}{word}" for word in "abcdefg"]
    (place / "rows.txt").write_text("\n".join(rows), encoding="utf-8")
    asked = {**options, "dataset": "rows.txt", "output_dir": "out"}
    with stopping_after(1), pytest.raises(KeyboardInterrupt):
        backlight.layers(**asked)
    before = contents(place / "out")
    (place / "rows.txt").write_text("\n".join([*rows, rows[0]]), encoding="utf-8")

    with pytest.raises(
        RunDirectoryError, match=r"The corpus is not what it was when the run in 'out' began"
    ):
        backlight.layers(**asked, resume=True)

    assert contents(place / "out") == before


def test_a_model_that_has_changed_is_not_mixed_with_what_was_measured(
    options, place, model_folder, checkpoint_often
):
    shutil.copytree(model_folder, place / "model")
    asked = {**options, "model_name": "./model", "output_dir": "out"}
    with stopping_after(1), pytest.raises(KeyboardInterrupt):
        backlight.layers(**asked)
    model = AutoModelForCausalLM.from_pretrained("./model")
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1.0
    model.save_pretrained("./model")

    with pytest.raises(RunDirectoryError, match=r"The model is not what it was when the run"):
        backlight.layers(**asked, resume=True)


def test_overwriting_leaves_nothing_of_the_run_before(survey, place, no_figures):
    assert cli.main(survey(output_dir="out", aggregation_mode="both")) == 0
    assert cli.main(survey(output_dir="out", layers="1", overwrite=True)) == 0

    assert [path.name for path in (place / "out").glob("*.npy")] == [
        "layer_1_mean_abs_gradients.npy"
    ]


def test_a_mistake_does_not_cost_the_run_that_was_to_be_overwritten(survey, place, no_figures):
    assert cli.main(survey(output_dir="out")) == 0
    before = contents(place / "out")

    assert cli.main(survey(output_dir="out", overwrite=True, layers="7")) == 2

    assert contents(place / "out") == before


def test_batch_size_does_not_change_the_numbers(options):
    one, many = (backlight.layers(**{**options, "batch_size": size}) for size in (1, 16))

    for name, array in one.data.items():
        assert np.abs(array - many.data[name]).max() <= 1e-5 * np.abs(array).max()
