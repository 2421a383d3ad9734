"""What `backlight tokens` measures, writes and prints, on templates and a tiny model."""

import io
import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
import yaml
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

import backlight
from backlight import cli
from backlight.errors import (
    ConfigError,
    ModelError,
    PromptError,
    RunDirectoryError,
    TaskError,
    UnknownLayerError,
    UnknownSiteError,
    UnsupportedSiteError,
)
from backlight.models.loading import load_subject
from backlight.runs.shards import cut
from backlight.surveys.driver.material import opening
from backlight.surveys.driver.shards import sharding
from backlight.surveys.tokens import figures
from backlight.surveys.tokens.measure import setup
from backlight.surveys.tokens.measure.prompts import draw_prompts
from backlight.surveys.tokens.options import TokensConfig
from zoo.folders import contents, save_causal
from zoo.stopping import stopping

pytestmark = pytest.mark.usefixtures("place")


ROWS = [
    ("light", "model", "back", "1"),
    ("a gradient", "layer", "up", "2"),
    ("every little word", "model", "louder", "4"),
    ("the next neuron", "word", "which", "8"),
    ("surprise", "layer", "up", "3"),
]
FIELDS = {
    name: list(column)
    for name, column in zip(
        ("thing", "place", "goal", "size"), zip(*ROWS, strict=True), strict=True
    )
}


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda results: iter(()))


@pytest.fixture(scope="session")
def _loaded():
    return {}


@pytest.fixture(autouse=True)
def _load_once(monkeypatch, _loaded):
    """Load each model once for all tests, and prove it once."""

    def load(name, **options):
        key = (name, *options.values())
        if key not in _loaded:
            _loaded[key] = load_subject(name, **options)
        return _loaded[key]

    monkeypatch.setattr(opening, "load_subject", load)


@pytest.fixture
def asked(model_folder):
    """Options of a survey of five prompts, two or three in a batch."""
    return {
        "model_name": str(model_folder),
        "device": "cpu",
        "template": "the {thing} of {place} comes",
        "answer": " {goal}",
        "fields": FIELDS,
        "batch_size": 2,
    }


@pytest.fixture
def config(asked, place):
    """Write these options, some replaced or added, to a file."""

    def write(name="some.yaml", **others):
        options = {key: value for key, value in {**asked, **others}.items() if value is not None}
        (place / name).write_text(yaml.safe_dump(options, sort_keys=False), encoding="utf-8")
        return name

    return write


def arrays_of(path):
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


def numbers(folder):
    """All that was measured: tables byte by byte, archives array by array."""
    found = {}
    for name, content in contents(folder).items():
        if name.endswith((".csv", "_pca.json")):
            found[name] = content
        elif name.endswith(".npz"):
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                found |= {f"{name}/{key}": arrays[key].tobytes() for key in arrays}
    found.pop("consolidated_results.npz/metadata", None)
    return found


def test_gradients_are_those_of_whole_hidden_states(asked):
    results = backlight.tokens(**asked, sites="resid.pre", target_positions="all")

    model = AutoModelForCausalLM.from_pretrained(asked["model_name"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(asked["model_name"])
    for row, (thing, where, goal, _) in enumerate(ROWS):
        prompt = tokenizer(f"the {thing} of {where} comes")["input_ids"]
        ids = torch.tensor([prompt + tokenizer(goal)["input_ids"]])
        output = model(input_ids=ids, output_hidden_states=True)
        for hidden in output.hidden_states:
            hidden.retain_grad()
        loss = cross_entropy(output.logits[0, len(prompt) - 1 : -1], ids[0, len(prompt) :])
        loss.backward()
        assert results.tables["prompts"]["loss"][row] == pytest.approx(loss.item(), rel=1e-5)
        for layer in range(3):
            gradient = output.hidden_states[layer].grad[0].numpy()
            found = {
                name: results.data[f"layers.{layer}.resid.pre/{name}/gradients"]
                for name in ("thing_first", "thing_last", "of", "place", "comes")
            }
            size = len(thing.split())
            assert len(prompt) == 4 + size
            for name, token in zip(found, (1, size, size + 1, size + 2, size + 3), strict=True):
                error = np.abs(found[name][row] - gradient[token]).max() / np.abs(gradient).max()
                assert error <= 1e-5
            middle = results.data[f"layers.{layer}.resid.pre/thing_middle/gradients"]
            rows = results.data[f"layers.{layer}.resid.pre/thing_middle/prompts"].tolist()
            assert rows == [2, 3]
            if row in rows:
                error = np.abs(middle[rows.index(row)] - gradient[2]).max()
                assert error <= 1e-5 * np.abs(gradient).max()


def test_nothing_is_written_unless_asked_for(asked, config, place, capsys):
    results = backlight.tokens(**asked)
    assert cli.main(["tokens", config(), "--table"]) == 0

    assert [path.name for path in place.iterdir()] == ["some.yaml"]
    assert results.path is None
    assert results.metadata["num_prompts"] == 5
    assert set(results.tables) == {"positions", "prompts", "geometry"}
    told = capsys.readouterr().out
    assert "loss of the answer's tokens: gradient norms (nats/unit), largest first" in told
    assert "5 prompts; loss" in told
    assert "Results " not in told


def test_exactly_these_files_are_written(asked, config, place):
    assert cli.main(["tokens", config(), "--output_dir", "out", "--target_layers", "0,2"]) == 0

    stems = [
        f"layer_{layer}_{position}"
        for layer in (0, 2)
        for position in ("thing_last", "place", "comes")
    ]
    shaped = [stem for stem in stems if stem.startswith("layer_0") or stem.endswith("comes")]
    assert set(contents(place / "out")) == {
        "config.yaml",
        "manifest.json",
        "metadata.json",
        "consolidated_results.npz",
        "index.html",
        *(f"tables/{name}.csv" for name in ("positions", "prompts", "geometry")),
        *(f"gradients/{stem}.npz" for stem in stems),
        *(f"pca/{stem}_pca.{kind}" for stem in shaped for kind in ("npz", "json")),
    }


def test_files_hold_what_the_seeds_tool_writes(config, place):
    rows = [dict(zip(("x", "y", "distance"), row, strict=True)) for row in
            [("light", "back", "7"), ("model", "up", "9"), ("word", "made", "4")]]  # fmt: skip
    words = ["tokens", config(template="the {x} of", answer=" {y}", fields=rows, color_by="x")]
    assert cli.main([*words, "--output_dir", "out"]) == 0

    told = json.loads((place / "out/metadata.json").read_text(encoding="utf-8"))
    assert (told["n_samples"], told["target_layers"]) == (3, [0, 1, 2])
    assert told["target_positions"] == ["x", "of"]
    assert told["keys"][:2] == ["layer_0_x", "layer_0_of"]
    assert told["config"]["template"] == "the {x} of"
    assert told["checkpoint_path"] == told["config"]["model_name"]
    losses = backlight.load_results(place / "out/tables/prompts.csv").tables["prompts"]["loss"]
    for key in told["keys"]:
        held = arrays_of(place / f"out/gradients/{key}.npz")
        assert {name: array.shape for name, array in held.items()} == {
            "gradients": (3, 32),
            "activations": (3, 32),
            "losses": (3,),
            "distances": (3,),
            "prompts": (3,),
        }
        assert np.abs(held["activations"]).min() > 0
        np.testing.assert_array_equal(held["losses"], losses)
        assert held["distances"].tolist() == [7.0, 9.0, 4.0]
    shaped = arrays_of(place / "out/pca/layer_1_x_pca.npz")
    assert {name: array.shape for name, array in shaped.items()} == {
        "pca_gradients": (3, 3),
        "explained_variance_ratio": (3,),
        "components": (3, 32),
        "mean": (32,),
        "scale": (32,),
        "losses": (3,),
        "distances": (3,),
        "prompts": (3,),
    }
    facts = json.loads((place / "out/pca/layer_1_x_pca.json").read_text(encoding="utf-8"))
    assert facts["original_shape"] == [3, 32]
    assert facts["pca"] == "standardized"
    assert facts["x"] == ["light", "model", "word"]
    assert facts["components_90"] in (1, 2)
    gradients = arrays_of(place / "out/gradients/layer_1_x.npz")["gradients"]
    np.testing.assert_allclose(
        ((gradients - shaped["mean"]) / shaped["scale"]) @ shaped["components"].T,
        shaped["pca_gradients"],
        atol=1e-4,
    )


def test_raw_components_are_not_scaled(asked):
    results = backlight.tokens(**asked, pca="raw")

    assert (results.data["layers.0.resid.post/place/scale"] == 1).all()


def test_what_is_written_is_what_is_returned(asked, place):
    results = backlight.tokens(**asked, output_dir="out")

    again = backlight.load_results(place / "out")
    assert again.config == results.config
    for name, table in results.tables.items():
        for column in table.columns:
            np.testing.assert_array_equal(again.tables[name][column], table[column])
    for name, array in again.data.items():
        np.testing.assert_array_equal(array, results.data[name])
    left_out = {name.rpartition("/")[2] for name in set(results.data) - set(again.data)}
    assert left_out == {"gradients", "activations", "loadings"}
    for layer in range(3):
        held = arrays_of(place / f"out/gradients/layer_{layer}_place.npz")
        for name in ("gradients", "activations"):
            kept = results.data[f"layers.{layer}.resid.post/place/{name}"]
            np.testing.assert_array_equal(held[name], kept)


def test_flags_a_file_and_keywords_mean_the_same(asked, config, place):
    first = backlight.tokens(
        **asked, target_layers="0,2", target_positions="of,thing_last", output_dir="one"
    )
    listed = config("two.yaml", target_layers=[0, 2], target_positions=["of", "thing_last"])
    assert cli.main(["tokens", listed, "--output_dir", "two"]) == 0
    flags = ["--target_layers", "0,2", "--target_positions", "of,thing_last"]
    assert cli.main(["tokens", config("three.yaml"), *flags, "--output_dir", "three"]) == 0
    subject = load_subject(asked["model_name"], device="cpu")
    options = {key: asked[key] for key in asked if key not in ("model_name", "device")}
    held = backlight.tokens(
        **options, subject=subject, target_layers=[0, 2], target_positions=["of", "thing_last"]
    )

    assert numbers(place / "one") == numbers(place / "two") == numbers(place / "three")
    assert first.data.keys() == held.data.keys()
    for name, array in first.data.items():
        np.testing.assert_array_equal(held.data[name], array)


def test_a_finished_runs_config_measures_the_same_again(config, place):
    assert cli.main(["tokens", config(), "--output_dir", "one"]) == 0
    assert cli.main(["tokens", "one/config.yaml", "--output_dir", "two"]) == 0

    assert numbers(place / "one") == numbers(place / "two")


def test_values_of_fields_can_be_a_list_of_prompts_or_a_file(asked, place):
    rows = [dict(zip(FIELDS, row, strict=True)) for row in ROWS]
    lines = [",".join(FIELDS), *(",".join(row) for row in ROWS)]
    (place / "values.csv").write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")

    one = backlight.tokens(**asked)
    two = backlight.tokens(**{**asked, "fields": rows})
    three = backlight.tokens(**{**asked, "fields": None, "fields_csv": "values.csv"})

    assert one.tables["prompts"]["size"].tolist() == [1.0, 2.0, 4.0, 8.0, 3.0]
    for name, array in one.data.items():
        np.testing.assert_array_equal(two.data[name], array)
        np.testing.assert_array_equal(three.data[name], array)


def test_fewer_prompts_are_drawn_with_the_seed(asked):
    def drawn(seed, n_samples=3):
        options = {**asked, "n_samples": n_samples, "seed": seed}
        return [prompt.text for prompt in draw_prompts(TokensConfig.model_validate(options))]

    everything = [f"the {thing} of {where} comes" for thing, where, _, _ in ROWS]
    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(4)}) > 1
    assert [text for text in everything if text in drawn(2)] == drawn(2)
    assert drawn(0, n_samples=9) == everything


def test_positions_are_listed_without_measuring(config, place, monkeypatch, capsys):
    monkeypatch.setattr(setup, "survey_tokens", lambda *_, **__: pytest.fail("was measured"))

    assert cli.main(["tokens", config(), "--list_positions", "--output_dir", "out"]) == 0

    told = capsys.readouterr().out
    listed = [line.split("│")[2].strip() for line in told.splitlines() if line.count("│") > 3]
    assert listed == [
        *("the", "thing_first", "thing_middle", "thing_last", "of", "place", "comes", "answer"),
    ]
    assert "place_first, place_last" in told
    assert "Positions of 5 prompts" in told
    assert not (place / "out").exists()


def test_vectors_are_kept_at_the_positions_that_were_asked_for_and_called_so(config, place):
    words = ["tokens", config(target_positions=["comes", "place_last", "answer"])]
    assert cli.main([*words, "--output_dir", "out", "--target_layers", "1"]) == 0

    files = {path.name for path in (place / "out/gradients").iterdir()}
    assert files == {f"layer_1_{name}.npz" for name in ("place_last", "comes", "answer")}
    told = json.loads((place / "out/metadata.json").read_text(encoding="utf-8"))
    assert told["target_positions"] == ["place_last", "comes", "answer"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("the {thing} of {place} comes", ["thing_last", "place", "comes"]),
        ("the {thing} {place}", ["thing_last", "place"]),
        ("{place} and", ["place", "and"]),
    ],
)
def test_by_default_vectors_are_kept_at_the_end_of_each_field_and_of_the_prompt(
    asked, template, expected
):
    results = backlight.tokens(**{**asked, "template": template}, target_layers=0)

    assert results.tables["geometry"]["position"].tolist() == expected


def test_sites_with_heads_have_a_row_for_each_head(config, place):
    words = ["tokens", config(sites=["resid.post", "attn.q", "attn.k"], target_positions="place")]
    assert cli.main([*words, "--output_dir", "out", "--target_layers", "0-1"]) == 0

    results = backlight.load_results(place / "out")
    table = results.tables["positions"]
    counts = {
        site: len(np.unique(table["head"][table["site"] == site]))
        for site in dict.fromkeys(table["site"].tolist())
    }
    assert list(counts) == [
        f"layers.{layer}.{kind}" for kind in ("resid.post", "attn.q", "attn.k") for layer in (0, 1)
    ]
    assert list(counts.values()) == [1, 1, 5, 5, 3, 3]
    assert results.data["layers.1.attn.k/grad_x_act"].shape == (5, 3, 8)
    assert {path.name for path in (place / "out/gradients").iterdir()} == {
        f"layer_{layer}_{kind}place.npz" for layer in (0, 1) for kind in ("", "attn.q_", "attn.k_")
    }


def test_sites_outside_of_layers_can_be_looked_at(config, place):
    words = ["tokens", config(sites="embed.out,final_norm.out"), "--output_dir", "out"]
    assert cli.main(words) == 0

    names = {path.name for path in (place / "out/gradients").iterdir()}
    assert {"embed.out_place.npz", "final_norm.out_comes.npz"} <= names


def test_zeros_of_causality_are_counted_and_have_no_shape(asked):
    results = backlight.tokens(**asked)

    table = results.tables["positions"]
    last = table.select(table["site"] == "layers.2.resid.post")
    reaching = dict(zip(last["position"].tolist(), last["num_reaching"].tolist(), strict=True))
    assert {name for name, number in reaching.items() if number} == {"comes"}
    assert (last["gradient_norm"][last["num_reaching"] == 0] == 0).all()
    assert "layers.2.resid.post/place/scores" not in results.data
    assert "layers.2.resid.post/comes/scores" in results.data
    assert not results.data["layers.2.resid.post/reachable"][:, :-2].any()


def test_contrasts_are_logits(asked):
    wrong = {"wrong_answer": " {place}", "objective": "logit_difference"}
    results = backlight.tokens(**asked, **wrong)

    model = AutoModelForCausalLM.from_pretrained(asked["model_name"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(asked["model_name"])
    for row, (thing, where, goal, _) in enumerate(ROWS):
        ids = tokenizer(f"the {thing} of {where} comes", return_tensors="pt")["input_ids"]
        logits = model(input_ids=ids).logits[0, -1]
        right, other = (tokenizer(word)["input_ids"][0] for word in (goal, where))
        expected = (logits[right] - logits[other]).item()
        assert results.tables["prompts"]["objective"][row] == pytest.approx(expected, rel=1e-4)
    assert results.tables["prompts"].units["objective"] == "logits"


@pytest.mark.parametrize("num_batches", [0, 2])
def test_a_survey_that_was_stopped_goes_on_to_the_same_bytes(config, place, num_batches):
    words = ["tokens", config(sites="resid.post,attn.q"), "--output_dir"]
    assert cli.main([*words, "whole"]) == 0
    with stopping(setup, "survey_tokens", num_batches):
        assert cli.main([*words, "out"]) == 130
    assert ("checkpoint.npz" in contents(place / "out")) == bool(num_batches)

    assert cli.main([*words, "out", "--resume"]) == 0

    assert numbers(place / "out") == numbers(place / "whole")
    assert "checkpoint.npz" not in contents(place / "out")


def test_shards_of_prompts_give_the_same_bytes_also_if_it_was_stopped(config, place, monkeypatch):
    words = ["tokens", config(sites="resid.post,attn.q"), "--output_dir"]
    assert cli.main([*words, "whole"]) == 0
    monkeypatch.setattr(sharding, "cut", partial(cut, least=1))  # each batch is a shard
    with stopping(setup, "survey_tokens", 1):
        assert cli.main([*words, "out"]) == 130

    assert cli.main([*words, "out", "--resume"]) == 0

    shards = yaml.safe_load((place / "out" / "config.yaml").read_text())["provenance"]["shards"]
    assert shards["num_shards"] >= 2
    assert numbers(place / "out") == numbers(place / "whole")


def test_to_resume_a_finished_run_shows_it_and_changes_nothing(config, place, monkeypatch, capsys):
    words = ["tokens", config(), "--output_dir", "out"]
    assert cli.main(words) == 0
    first, before = capsys.readouterr().out, contents(place / "out")
    monkeypatch.setattr(setup, "load_answering", lambda *_: pytest.fail("no model is needed"))

    assert cli.main([*words, "--resume"]) == 0

    assert capsys.readouterr().out == first
    assert contents(place / "out") == before


def test_prompts_that_have_changed_are_not_mixed_with_what_was_measured(asked, place):
    lines = ["thing,goal", "light,up", "model,back", "word,louder"]
    (place / "values.csv").write_text("\n".join(lines), encoding="utf-8")
    options = {**asked, "template": "the {thing}", "fields": None, "fields_csv": "values.csv"}
    with stopping(setup, "survey_tokens", 1), pytest.raises(KeyboardInterrupt):
        backlight.tokens(**options, output_dir="out")
    (place / "values.csv").write_text("\n".join(lines[:3]), encoding="utf-8")

    with pytest.raises(RunDirectoryError, match=r"The corpus changed since the run in 'out' began"):
        backlight.tokens(**options, output_dir="out", resume=True)


@pytest.mark.parametrize(
    ("others", "kind", "told"),
    [
        ({"target_layers": "3"}, UnknownLayerError, r"it has 3 layers, 0 to 2\."),
        ({"sites": "resid.pst"}, UnknownSiteError, r"no site 'resid\.pst' .*Did you mean resid"),
        ({"sites": "logits"}, UnsupportedSiteError, r"logits"),
        (
            {"target_positions": "plce"},
            PromptError,
            r"no position 'plce' in these prompts\. Did you mean place",
        ),
        (
            {"color_by": "thng"},
            ConfigError,
            r"The prompts have no value 'thng' to colour by\. Did you mean thing\?",
        ),
        (
            {"color_by": "zzzz"},
            ConfigError,
            r"no value 'zzzz' to colour by\. They have prompt, text, answer, objective, loss, ",
        ),
        (
            {"answer": None},
            ConfigError,
            r'A template needs what should follow it, such as answer: "',
        ),
        ({"template": None}, ConfigError, r"Say what to ask: either task_type \(a city task, such"),
        ({"task_type": "distance"}, ConfigError, r"Say what to ask: either task_type"),
        ({"fields": None}, ConfigError, r"either as fields or as fields_csv\."),
        ({"fields_csv": "values.csv"}, ConfigError, r"either as fields or as fields_csv\."),
        (
            {"fields": {"thing": ["a", "the"], "place": ["layer"], "goal": ["up", "back"]}},
            ConfigError,
            r"must have a value for each prompt, but thing has 2, place has 1, goal has 2\.",
        ),
        ({"fields": {}}, PromptError, r"There are no values for the template's fields\."),
        ({"fields": {"thing": []}}, PromptError, r"There are no values for the template's fields"),
        (
            {"objective": "logit_difference"},
            PromptError,
            r"these prompts have one: give wrong_answ",
        ),
        ({"include_eos": True}, PromptError, r"These prompts have no ending, such as <eos>"),
        ({"model_name": "city"}, ConfigError, r"The shipped city model reads questions about cit"),
        (
            {"checkpoint": "100"},
            ModelError,
            r"--checkpoint 100 is one of a folder that train-world",
        ),
        ({"experiment_dir": "x"}, ModelError, r"--experiment_dir and --model_name .* both name a"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(
    asked, place, monkeypatch, others, kind, told
):
    monkeypatch.setattr(setup, "survey_tokens", lambda *_, **__: pytest.fail("was measured"))

    with pytest.raises(kind, match=told):
        backlight.tokens(**{**asked, **others}, output_dir="out")

    assert list(place.iterdir()) == []


def test_prompts_that_are_too_long_for_the_model_are_refused(asked, place):
    folder = str(save_causal(place / "gpt2", "gpt2"))

    with pytest.raises(ConfigError, match=r"gpt2 reads at most 64 tokens, .* prompts of 67;"):
        backlight.tokens(**{**asked, "model_name": folder, "template": "the " * 63 + "{thing}"})


def test_a_task_that_does_not_exist_lists_those_that_do(place, model_folder):
    with pytest.raises(TaskError, match=r"'distanc'.*distance") as told:
        backlight.tokens(task_type="distanc", model_name=str(model_folder), output_dir="out")
    assert told.value.exit_status == 2

    with pytest.raises(TaskError, match=r"trianglearea.*randring"):
        backlight.tokens(task_type="zzz", model_name=str(model_folder))


@pytest.mark.parametrize(
    ("content", "kind", "told"),
    [
        (None, ConfigError, r"There is no file 'values\.csv'\."),
        (b"thing,place\na,b,c\n", ConfigError, r"Line 2 of 'values\.csv' has not as many cells as"),
        (b"thing,place\na,b\n\nc\n", ConfigError, r"Line 4 of 'values\.csv' has not as many cells"),
        (b'thing,place\n"a\nb",c\nd\n', ConfigError, r"Line 4 of 'values\.csv' has not as many"),
        (
            b'thing,place\n"a,b\n',
            ConfigError,
            r"'values\.csv' cannot be read as CSV: unexpected end",
        ),
        (
            b"thing,place\n\xff,b\n",
            ConfigError,
            r"'values\.csv' is not UTF-8 text \(byte 12, 0xFF",
        ),
        (b"", ConfigError, r"'values\.csv' holds no prompts"),
        (b"thing,place,goal\n", ConfigError, r"'values\.csv' holds no prompts"),
        (b"thing,plce,goal\na,b,c\n", PromptError, r"field 'place', .*Did you mean plce\?"),
        (b"thing,place,goal\na,,c\n", PromptError, r"The field 'place' has no value in row 1\."),
    ],
)
def test_mistakes_in_a_table_of_values_are_told(asked, place, content, kind, told):
    if content is not None:
        (place / "values.csv").write_bytes(content)

    with pytest.raises(kind, match=told):
        backlight.tokens(**{**asked, "fields": None}, fields_csv="values.csv")


@pytest.mark.parametrize("content", ["", "thing,place,goal\n", "thing,place,goal\n,,\n \n"])
def test_a_table_without_rows_is_told(asked, place, content):
    (place / "values.csv").write_text(content)

    with pytest.raises(
        ConfigError, match=r"'values\.csv' holds no prompts: there is no row with v"
    ):
        backlight.tokens(**{**asked, "fields": None}, fields_csv="values.csv")


def test_a_folder_is_no_table_of_values(asked, place):
    (place / "values").mkdir()

    with pytest.raises(ConfigError, match=r"'values' is a folder, not a file"):
        backlight.tokens(**{**asked, "fields": None}, fields_csv="values")


def test_prompts_can_be_coloured_by_any_of_their_values(asked):
    results = backlight.tokens(**asked, color_by="size", target_layers=0)

    assert results.config["color_by"] == "size"


@pytest.fixture
def experiment(place, model_folder):
    """A folder of checkpoints of which two differ."""
    root = place / "world" / "checkpoints"
    for name in ("checkpoint-900", "checkpoint-1000", "final"):
        shutil.copytree(model_folder, root / name)
    (root / "checkpoint-20").mkdir()  # nothing in it yet
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    with torch.no_grad():
        model.lm_head.weight.mul_(0.5)
    model.save_pretrained(root / "checkpoint-1000")
    return place / "world"


def test_a_checkpoint_is_found_by_its_number(asked, experiment):
    options = {key: asked[key] for key in asked if key != "model_name"}

    def values(**others):
        found = backlight.tokens(**options, target_layers=0, **others)
        return found.metadata["checkpoint_path"], found.tables["prompts"]["objective"].tolist()

    last = values(experiment_dir=experiment)
    early = values(experiment_dir=experiment, checkpoint=900)
    other = values(experiment_dir=experiment / "checkpoints", checkpoint="checkpoint-1000")

    assert last[0] == str(experiment / "checkpoints" / "final")
    assert early[0] == str(experiment / "checkpoints" / "checkpoint-900")
    assert last[1] == early[1] != other[1]


def test_checkpoints_that_are_there_are_listed_by_their_numbers(asked, experiment, place):
    options = {key: asked[key] for key in asked if key != "model_name"}
    (place / "empty").mkdir()

    with pytest.raises(
        ModelError,
        match=r"There is no checkpoint 'checkpoint-90' in '.*checkpoints'; there are "
        r"checkpoint-900, checkpoint-1000, final\. Did you mean checkpoint-900",
    ):
        backlight.tokens(**options, experiment_dir=experiment, checkpoint=90)
    shutil.rmtree(experiment / "checkpoints" / "final")
    with pytest.raises(
        ModelError,
        match=r"no checkpoint 'final' in .*; there are checkpoint-900, checkpoint-1000\.",
    ):
        backlight.tokens(**options, experiment_dir=experiment)
    with pytest.raises(ModelError, match=r"There are no checkpoints in '.*empty'\."):
        backlight.tokens(**options, experiment_dir=place / "empty")
    with pytest.raises(ModelError, match=r"There is no folder 'nowhere' \(experiment_dir\)\."):
        backlight.tokens(**options, experiment_dir="nowhere")


def test_a_given_model_leaves_no_room_for_options_of_another(asked):
    subject = load_subject(asked["model_name"], device="cpu")

    with pytest.raises(ConfigError, match=r"A subject is given, so model_name, device would have"):
        backlight.tokens(**asked, subject=subject)


def test_a_template_without_a_field_is_measured_as_one_prompt(asked, place):
    options = {**asked, "template": "the light of", "answer": " a", "fields": None}

    results = backlight.tokens(**options, output_dir="out")

    assert results.metadata["num_prompts"] == 1
    positions = results.tables["positions"]
    assert {"the", "light", "of"} <= set(positions["position"].tolist())
    assert np.isfinite(positions["gradient_norm"]).all()
    assert np.isnan(positions["gradient_norm_se"]).all()
    assert (place / "out" / "manifest.json").exists()


@pytest.mark.parametrize("name", ["prompts.jsonl", "prompts.json", "prompts.csv"])
def test_whole_prompts_come_from_a_file(asked, place, name):
    rows = [
        {"prompt": "the light of", "answer": " a", "wrong_answer": " the"},
        {"prompt": "every layer", "answer": " of", "wrong_answer": " a"},
    ]
    if name.endswith(".csv"):
        lines = [";".join(rows[0]), *(";".join(row.values()) for row in rows)]
        (place / name).write_text("\n".join(lines), encoding="utf-8")
    elif name.endswith(".jsonl"):
        (place / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    else:
        (place / name).write_text(json.dumps(rows), encoding="utf-8")
    options = {
        **{each: value for each, value in asked.items() if each not in ("template", "answer")},
        "objective": "logit_difference",
    }
    del options["fields"]

    found = backlight.tokens(**options, fields_csv=name)
    expected = backlight.tokens(
        **options,
        template="{prompt}",
        answer="{answer}",
        wrong_answer="{wrong_answer}",
        fields=rows,
    )

    assert found.metadata["num_prompts"] == 2
    assert found.tables["positions"]["gradient_norm"].tolist() == (
        expected.tables["positions"]["gradient_norm"].tolist()
    )
