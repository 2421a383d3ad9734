"""What `backlight layers` measures, writes and prints."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

import backlight
from backlight import cli
from backlight.errors import ConfigError, UnsupportedSiteError
from backlight.stats.aggregate import normalize, signed_power
from backlight.surveys.layers.options import LayersConfig
from zoo.folders import contents, numbers
from zoo.tokenizers import WordTokenizer

pytestmark = pytest.mark.usefixtures("place")


TABLES = [f"tables/{name}.csv" for name in ("dimensions", "histograms", "layers", "top_tokens")]
ALWAYS = {
    "config.yaml",
    "index.html",
    "manifest.json",
    "metadata.json",
    "consolidated_results.npz",
    "depth_profile.png",
    *TABLES,
}


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
    assert results.path is None
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
    groups = {f"passage_groups/layer_{layer}.npz" for layer in layers}
    return groups | {
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
    said = json.loads((finished_run / "metadata.json").read_text(encoding="utf-8"))

    overall = said["timing_stats"]
    assert overall["total_runtime"] >= overall["model_loading"] + overall["gradient_computation"]
    for layer in ("0", "2"):
        parts = said["per_layer_timing"][layer]
        assert set(parts) == {"gradient_computation", "plots", "save_data", "total"}
        assert parts["plots"] > 0
        assert parts["total"] == pytest.approx(
            parts["gradient_computation"] + parts["plots"] + parts["save_data"]
        )


def test_the_config_holds_all_options_and_where_numbers_came_from(finished_run):
    kept = yaml.safe_load((finished_run / "config.yaml").read_text(encoding="utf-8"))

    origin = kept.pop("provenance")
    of_the_call = {"output_dir", "overwrite", "resume", "figures", "table", "quiet"}
    of_the_call |= {"check", "workers", "cluster", "memory", "dry_run"}
    assert set(kept) == set(LayersConfig.model_fields) - of_the_call
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
    assert cli.main(survey(output_dir="out", aggregation_mode="both", table=True)) == 0

    out = capsys.readouterr().out
    table = backlight.load_results(place / "out").tables["layers"]
    for layer in range(3):
        (row,) = [line for line in out.splitlines() if line.startswith(f"│     {layer} │")]
        for column in ("mean", "mean_se", "mean_abs", "mean_abs_se", "mean_abs_max"):
            assert f"{table[column][layer]:.3e}".replace("e-0", "e-") in row, column
    assert "247 tokens in 14 passages" in out
    assert re.search(r"Tables +out/tables/\*\.csv\n", out)
    assert "backlight layers out/config.yaml" in out


@pytest.mark.parametrize("figures", ["all", "overview", "none"])
def test_only_wanted_figures_are_written(survey, place, no_pixels, figures):
    assert cli.main(survey(output_dir="out", figures=figures)) == 0

    pictures = {path.name for path in (place / "out").glob("*.png")}
    single = {name for name in pictures if name.startswith("layer_")}
    assert len(single) == {"all": 6, "overview": 0, "none": 0}[figures]
    assert len(pictures - single) == {"all": 4, "overview": 4, "none": 0}[figures]


def test_a_run_without_figures_loads_nothing_that_draws(options, place):
    code = (
        "import sys, backlight\n"
        f"backlight.layers(**{options!r}, layers=0, output_dir='out', figures='none')\n"
        "sys.exit('matplotlib' in sys.modules)\n"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert (place / "out" / "manifest.json").exists()


def test_which_figures_are_wanted_does_not_make_another_run(survey, place, no_pixels):
    assert cli.main(survey(output_dir="out", figures="none")) == 0
    before = contents(place / "out")

    assert cli.main([*survey(output_dir="out", figures="overview"), "--resume"]) == 0

    assert contents(place / "out") == before
    assert "figures" not in yaml.safe_load(before["config.yaml"])


def test_power_comes_before_normalisation_in_the_arrays(options):
    plain = backlight.layers(**options, layers="1", aggregation_mode="mean")
    bent = backlight.layers(
        **options, layers="1", aggregation_mode="mean", power=0.5, normalize="both"
    )

    column = plain.tables["dimensions"]["mean"]
    for norm in ("sum", "sum_abs"):
        expected = normalize(signed_power(column, 0.5), norm).astype(np.float32)
        np.testing.assert_array_equal(bent.data[f"layer_1_mean_norm_{norm}"], expected)


def test_activations_have_no_loss(options, survey, capsys):
    results = backlight.layers(**options, aggregate_by="values", aggregation_mode="rms")
    assert cli.main(survey(aggregate_by="values")) == 0
    printed = capsys.readouterr().out

    assert results.metadata["loss_nats_per_token"] is None
    assert results.tables["layers"].units["rms"] == "units"
    assert "247 tokens in 14 passages" in printed
    assert "Loss" not in printed


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


def test_a_model_that_is_already_loaded_gives_the_same_numbers(options, capsys):
    subject = backlight.load_subject(options.pop("model_name"), device=options.pop("device"))
    loaded = backlight.layers(subject=subject, **options)

    named = backlight.layers(model_name=subject.name, device="cpu", **options)

    assert loaded.data.keys() == named.data.keys()
    for name, array in named.data.items():
        np.testing.assert_array_equal(loaded.data[name], array)
    assert loaded.config["model_name"] == subject.name
    assert capsys.readouterr().out == ""


def test_options_for_loading_a_model_beside_a_subject_are_refused(options):
    subject = backlight.load_subject(options["model_name"], device="cpu")

    with pytest.raises(
        ConfigError, match="A subject is given, so model_name, device would have no"
    ):
        backlight.layers(subject=subject, **options)


class Stack(torch.nn.Module):
    """A language model that is no transformer."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(99, 8)
        self.rungs = torch.nn.ModuleList(torch.nn.GRU(8, 8, batch_first=True) for _ in range(2))
        self.out = torch.nn.Linear(8, 99)

    def forward(self, input_ids):
        hidden = self.embedding(input_ids)
        for rung in self.rungs:
            hidden = hidden + rung(hidden)[0]
        return self.out(hidden)


def test_any_module_can_be_surveyed_and_its_run_drawn(text_file, place):
    torch.manual_seed(0)
    subject = backlight.subject_from_module(Stack(), WordTokenizer(), name="stack")

    results = backlight.layers(
        subject=subject,
        dataset=str(text_file),
        num_samples=4,
        max_length=20,
        site="rungs.*",
        output_dir="out",
    )

    assert list(results.data) == ["layer_0_mean_abs", "layer_1_mean_abs"]
    assert all(array.shape == (8,) and (array > 0).all() for array in results.data.values())
    assert backlight.load_results("out").config["model_name"] == "stack"


def test_keywords_are_checked_like_flags(options):
    with pytest.raises(ConfigError, match=r"num_sample: no such option\. Did you mean num_samples"):
        backlight.layers(**options, num_sample=1)


def test_batch_size_does_not_change_the_numbers(options):
    one, many = (backlight.layers(**{**options, "batch_size": size}) for size in (1, 16))

    for name, array in one.data.items():
        assert np.abs(array - many.data[name]).max() <= 1e-5 * np.abs(array).max()
