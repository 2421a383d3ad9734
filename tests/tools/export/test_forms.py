"""Every form of ``backlight export`` is read back, and says what the run or comparison says."""

import csv
import json
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import backlight
from backlight.errors import ConfigError, RunDirectoryError, UsageError
from backlight.runs.results import Results
from backlight.tables import Table
from backlight.tools.export.command import exported as put_together
from backlight.tools.export.forms.steering import module_of
from backlight.tools.export.options import ExportConfig

SAE_LENS = ("--sparse_model", "a-release", "--sae_id", "layer_{layer}/width")
PAGE = ("--neuronpedia", "gemma-2-2b/{layer}-gemmascope-mlp-16k")


def data_of(run, layer, column, statistic="mean_abs"):
    return backlight.load_results(run).data[f"feature_{statistic}_layer_{layer}_{column}"]


def surest(run, layer, rate):
    """The features of a comparison that differ, the surest first, by a plain sort."""
    q, t = (np.nan_to_num(data_of(run, layer, name), nan=n) for name, n in (("q", 9), ("t", 0)))
    return [i for i in np.argsort(-np.abs(t), kind="stable").tolist() if q[i] <= rate]


def rows_of(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_indices_of_a_comparison_select_the_same_features(compared, exported):
    status, told, _ = exported(compared / "both", "indices", "units.json", "--q", "0.9")

    read = json.loads(Path("units.json").read_text())
    assert status == 0
    assert (read["a"]["label"], read["b"]["label"]) == ("a", "b")
    assert "of 2 layers written to units.json" in told
    assert [each["layer"] for each in read["layers"]] == [0, 2]
    for each in read["layers"]:
        assert each["indices"] == surest(compared / "both", each["layer"], 0.9)
        difference = data_of(compared / "both", each["layer"], "difference")
        np.testing.assert_array_equal(each["difference"], difference[each["indices"]])


def test_indices_of_a_run_are_its_largest_features(compared, exported):
    exported(compared / "a", "indices", "units.json", "--top", "7")

    read = json.loads(Path("units.json").read_text())
    run = backlight.load_results(compared / "a")
    assert read["run"]["sae_path"] == str(compared / "saes")
    for each in read["layers"]:
        sizes = run.statistics[f"layer_{each['layer']}_mean_abs"]
        assert each["indices"] == np.argsort(-sizes, kind="stable")[:7].tolist()
        np.testing.assert_array_equal(each["value"], sizes[each["indices"]])
        assert all(0 <= q <= 1 for q in each["q"])


def test_dimensions_of_a_run_are_taken_by_how_surely_their_mean_is_not_zero(finished_run, exported):
    exported(finished_run, "indices", "all.json", "--top", "1000")
    exported(finished_run, "indices", "sure.json", "--q", "0.2")

    everything, sure = (
        json.loads(Path(name).read_text())["layers"] for name in ("all.json", "sure.json")
    )
    for each, kept in zip(everything, sure, strict=True):
        assert each["kind"] == "dimension"
        expected = [i for i, q in zip(each["indices"], each["q"], strict=True) if q <= 0.2]
        assert kept["indices"] == expected


def test_a_list_that_a_comparison_made_is_exported_as_it_is(compared, exported):
    exported(compared / "both", "indices", "units.json", "--rank_by", "dsg", "--top", "2")

    table = backlight.load_results(compared / "both").tables["ranking"]
    for each in json.loads(Path("units.json").read_text())["layers"]:
        own = table.select((table["ranking"] == "dsg") & (table["layer"] == each["layer"]))
        assert each["indices"] == own["feature"][:2].tolist()
        assert each["statistic"] == "dsg"


def test_a_steering_file_has_a_row_for_the_surest_feature_of_each_layer(compared, exported):
    status, told, _ = exported(
        compared / "both", "steered", "steer.csv", "--q", "1", *SAE_LENS, "--coefficient", "-2.5"
    )

    assert status == 0
    assert "2 features of 2 layers" in told
    rows = rows_of("steer.csv")
    assert list(rows[0]) == [
        "loader",
        "action",
        "sparse_model",
        "hookpoint",
        "feature_index",
        "steering_coefficient",
        "head_index",
        "sae_id",
        "description",
    ]
    for row, layer in zip(rows, (0, 2), strict=True):
        assert row["loader"] == "sae_lens"
        assert row["action"] == "clamp"
        assert row["sparse_model"] == "a-release"
        assert row["sae_id"] == f"layer_{layer}/width"
        assert row["hookpoint"] == f"layers.{layer}.mlp"
        assert int(row["feature_index"]) == surest(compared / "both", layer, 1)[0]
        assert float(row["steering_coefficient"]) == -2.5


def test_of_several_features_the_first_is_last_since_lm_eval_keeps_that(compared, exported):
    _, told, _ = exported(compared / "a", "steered", "steer.csv", "--top", "3", *SAE_LENS)

    run = backlight.load_results(compared / "a")
    rows = [int(row["feature_index"]) for row in rows_of("steer.csv")]
    sizes = run.statistics["layer_0_mean_abs"]
    assert rows[:3] == np.argsort(-sizes, kind="stable")[:3][::-1].tolist()
    assert "one feature of each module" in told


def test_a_local_folder_of_sparsify_is_found_by_its_parent_and_its_name():
    results = steerable(format="sparsify", path="/there/saes/layers.3.mlp")

    (row,) = written(results, "steer.csv")

    assert row.startswith("sparsify,clamp,/there/saes,layers.3.mlp,1,0.0,,,")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            {"format": "SAELens", "path": "/x/models--them--saes/snapshots/ab12/layer_3"},
            "sae_lens,clamp,them/saes,layers.3.mlp,1,0.0,,layer_3,",
        ),
        (
            {
                "format": "Gemma Scope",
                "path": "/x/models--google--gemma-scope/snapshots/a/layer_3/w",
            },
            "sae_lens,clamp,gemma-scope,layers.3.mlp,1,0.0,,layer_3/w,",
        ),
        (
            {"format": "sparsify", "path": "/x/models--them--saes/snapshots/ab12/layers.3"},
            "sparsify,clamp,them/saes,layers.3,1,0.0,,,",
        ),
    ],
)
def test_dictionaries_of_the_hub_are_named_as_lm_eval_finds_them(told, expected):
    (row,) = written(steerable(**told), "steer.csv")

    assert row.startswith(expected)


def steerable(**told):
    """A run with one layer of three features, and what is said of its dictionary."""
    return Results(
        path=Path("run"),
        statistics={
            "layer_3_mean_abs": np.array([1.0, 3.0, 2.0]),
            "layer_3_mean": np.array([1.0, -3.0, 0.0]),
            "layer_3_mean_se": np.ones(3),
        },
        tables={
            "layers": Table(
                name="layers",
                columns={"layer": np.array([3]), "num_sequences": np.array([9])},
            )
        },
        config={
            "aggregation_mode": "mean_abs",
            "provenance": {
                "command": "sae",
                "model": {"model_type": "llama"},
                "dictionaries": {"3": {"writes": "layers.3.mlp.out", **told}},
            },
        },
    )


def written(results, output, to="steered", **options):
    asked = ExportConfig(run=Path("run"), to=to, output=Path(output), **options)
    (content,) = put_together(asked, results).files.values()
    return content.decode().splitlines()[1:]


@pytest.mark.parametrize(
    ("told", "options", "message"),
    [
        ({"format": "dictionary_learning"}, {}, "those of layer 3 are dictionary_learning"),
        ({"format": "SAELens", "path": "/here/layer_3"}, {}, "in a local folder, '/here/layer_3'"),
        (
            {"format": "sparsify", "path": "/there/=cmd|calc/layers.3"},
            {"sparse_model": "=cmd|calc"},
            "'=cmd|calc' cannot stand in a CSV file",
        ),
        (
            {"format": "sparsify", "path": "/there/layers.3"},
            {"output": "s.txt"},
            "must end in .csv",
        ),
        (
            {"format": "SAELens", "path": "", "writes": "layers.3.mlp.in"},
            {"sparse_model": "them", "sae_id": "it"},
            "Nobody says which module of 'llama' returns 'layers.3.mlp.in'",
        ),
    ],
)
def test_what_lm_eval_could_not_find_or_a_spreadsheet_would_run_is_refused(told, options, message):
    options = {"output": "steer.csv", **options}

    with pytest.raises(ConfigError) as refused:
        written(steerable(**told), options.pop("output"), **options)

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("site", "model_type", "module"),
    [
        ("layers.3.resid.post", "gpt2", "h.3"),
        ("layers.3.resid.pre", "llama", "layers.2"),
        ("layers.3.attn.out", "gpt_neox", "layers.3.attention"),
        ("layers.3.mlp.out", "gemma2", "layers.3.mlp"),
        ("layers.3.mlp.out", "opt", "decoder.layers.3.fc2"),
    ],
)
def test_modules_are_called_as_in_the_base_model(site, model_type, module):
    assert module_of(site, model_type) == module


def test_dimensions_have_no_dictionary_to_steer_with(finished_run, exported):
    status, _, told = exported(finished_run, "steered", "steer.csv")

    assert status == 2
    assert "lm-eval steers with features of dictionaries" in told
    status, _, told = exported(finished_run, "neuronpedia", "list.json", *PAGE)
    assert status == 2
    assert "Neuronpedia has pages of features" in told


def test_a_list_for_neuronpedia_has_the_fields_of_its_api_and_a_link_to_the_same(
    compared, exported
):
    status, told, _ = exported(compared / "a", "neuronpedia", "list.json", "--top", "3", *PAGE)

    assert status == 0
    body = json.loads(Path("list.json").read_text())
    assert set(body) == {"name", "description", "features"}
    run = backlight.load_results(compared / "a")
    largest = [
        (f"{layer}-gemmascope-mlp-16k", index)
        for layer in (0, 2)
        for index in np.argsort(-run.statistics[f"layer_{layer}_mean_abs"])[:3].tolist()
    ]
    assert [(each["layer"], each["index"]) for each in body["features"]] == largest
    assert {each["modelId"] for each in body["features"]} == {"gemma-2-2b"}
    link = Path("list.json.link.txt").read_text().strip()
    assert link in told
    asked = parse_qs(urlsplit(link).query)
    linked = json.loads(asked["features"][0])
    assert [(each["layer"], int(each["index"])) for each in linked] == largest
    assert link.startswith("https://www.neuronpedia.org/quick-list/?name=a&")


def test_a_link_holds_what_links_can_hold_and_says_so(compared, exported):
    _, told, _ = exported(compared / "a", "neuronpedia", "list.json", "--top", "40", *PAGE)

    link = Path("list.json.link.txt").read_text().strip()
    held = len(json.loads(parse_qs(urlsplit(link).query)["features"][0]))
    assert len(link) <= 8000
    assert 40 < held < 80
    assert f"80 features; the link has the first {held} written" in told


@pytest.mark.parametrize("page", [(), ("--neuronpedia", "nowhere"), ("--neuronpedia", "a/b/c")])
def test_features_without_a_page_are_refused(compared, exported, page):
    status, _, told = exported(compared / "a", "neuronpedia", "list.json", *page)

    assert status == 2
    assert "Nobody says where Neuronpedia has the features of layer 0" in told
    assert not Path("list.json").exists()


def test_weights_of_a_run_are_a_mixture_of_one_and_its_array(compared, exported):
    exported(compared / "a", "weights", "weights", "--lam", "0.3")

    run = backlight.load_results(compared / "a")
    files = sorted(path.name for path in Path("weights").iterdir())
    assert files == [f"layer_{i}_mean_abs_gradients_lambda_0.3.npy" for i in (0, 2)]
    for layer, name in zip((0, 2), files, strict=True):
        read = np.load(Path("weights") / name)
        expected = 0.3 * np.ones(len(read)) + 0.7 * run.data[f"layer_{layer}_mean_abs"]
        np.testing.assert_allclose(read, expected, rtol=1e-6)
        assert read.dtype == np.float32


@pytest.mark.parametrize(("side", "sign"), [("both", 1), ("a", 1), ("b", -1)])
def test_weights_of_a_comparison_are_a_mixture_of_one_and_the_ratio(compared, exported, side, sign):
    exported(compared / "both", "weights", "weights", "--side", side)

    first, second = (data_of(compared / "both", 2, name) for name in ("a", "b"))
    read = np.load("weights/feature_mean_abs_layer_2_ratio_lambda_0.5.npy")
    np.testing.assert_allclose(read, 0.5 + 0.5 * (first / second) ** sign, rtol=1e-6)


def test_weights_that_nothing_is_known_of_are_told_or_refused():
    comparison = Results(data={"feature_mean_layer_1_log_ratio": np.array([0.0, np.nan])})
    run = Results(data={"layer_1_mean_abs": np.array([1.0, np.nan])})
    asked = ExportConfig(run=Path("x"), to="weights", output=Path("w.npy"))

    found = put_together(asked, Results(data=comparison.data, metadata={"compared": "sae"}))

    assert found.notes == ["1 unit without a ratio (zero, or of two signs) weigh 1."]
    with pytest.raises(RunDirectoryError, match="nothing is known of 1 unit"):
        put_together(asked, run)


def test_one_file_holds_one_array(compared, exported):
    status, _, told = exported(compared / "a", "weights", "weights.npy")

    assert status == 2
    assert "There are 2 arrays, such as layer_0_mean_abs_gradients and" in told


def test_a_run_that_did_not_normalise_is_warned_of(compared, exported):
    _, told, _ = exported(compared / "a", "weights", "weights")

    assert "measure with --normalize sum_abs" in told


def test_tables_in_parquet_are_those_of_the_run_with_their_units(compared, exported):
    parquet = pytest.importorskip("pyarrow.parquet")

    status, told, _ = exported(compared / "a", "parquet", "tables")

    run = backlight.load_results(compared / "a")
    assert status == 0
    assert f"{len(run.tables)} tables written" in told
    for name, table in run.tables.items():
        read = parquet.read_table(f"tables/{name}.parquet")
        assert read.column_names == list(table)
        for column, values in table.items():
            assert read[column].to_pylist() == pytest.approx(values.tolist(), nan_ok=True)
            unit = (read.schema.field(column).metadata or {}).get(b"unit")
            assert unit == (table.units[column].encode() if column in table.units else None)


def test_parquet_without_pyarrow_says_what_to_install(compared, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    asked = ExportConfig(run=compared / "a", to="parquet", output=Path("x"))

    with pytest.raises(UsageError, match=r"pip install 'backlight\[data\]'"):
        put_together(asked, backlight.load_results(compared / "a"))


def test_nothing_is_replaced_unless_it_is_asked_for(compared, exported):
    Path("weights").mkdir()
    there = Path("weights/layer_2_mean_abs_gradients_lambda_0.5.npy")
    there.write_text("mine")

    status, _, told = exported(compared / "a", "weights", "weights")

    assert status == 2
    assert "is there already: use --overwrite" in told
    assert there.read_text() == "mine"
    assert len(list(Path("weights").iterdir())) == 1
    assert exported(compared / "a", "weights", "weights", "--overwrite")[0] == 0
    assert len(np.load(there)) == 40


def test_a_folder_is_no_file_and_a_file_is_no_folder(compared, exported):
    Path("folder").mkdir()
    Path("file").write_text("mine")

    _, _, told = exported(compared / "a", "indices", "folder", "--overwrite")
    assert "'folder' is a folder: name a file with --output" in told
    _, _, told = exported(compared / "a", "weights", "file", "--overwrite")
    assert "'file' is a file: name a folder with --output" in told
    assert Path("file").read_text() == "mine"


def test_what_a_run_of_tokens_keeps_is_no_weight_of_dimensions():
    run = Results(data={"layer_1_comma": np.ones(3)}, config={"provenance": {"command": "tokens"}})

    with pytest.raises(RunDirectoryError, match="has no number for each dimension or feature"):
        put_together(ExportConfig(run=Path("x"), to="weights", output=Path("w")), run)


@pytest.mark.parametrize(
    ("run", "words", "message"),
    [
        ("a", ("--side", "a"), "--side is of comparisons"),
        ("a", ("--rank_by", "dsg"), "has no list by 'dsg', only by none"),
        ("both", ("--rank_by", "crisp"), "has no list by 'crisp', only by dsg, gradient"),
    ],
)
def test_options_that_do_not_fit_are_refused(compared, exported, run, words, message):
    status, _, told = exported(compared / run, "indices", "units.json", *words)

    assert status == 2
    assert message in told
