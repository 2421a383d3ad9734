"""What `backlight flow` measures, writes and prints."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import backlight
from backlight import cli
from backlight.errors import RunDirectoryError, UnknownLayerError, UnsupportedSiteError
from backlight.surveys.flow import figures
from backlight.surveys.flow.measure import setup
from zoo.folders import contents
from zoo.stopping import stopping
from zoo.subjects import subject_of

pytestmark = pytest.mark.usefixtures("place")


VIEWS = {
    "norms": {"norms"},
    "attention": {"attention", "attention_distance"},
    "residual": {"residual", "depth", "depth_by_position", "depth_slope"},
}
GROUPED = {"norms", "attention", "residual", "depth"}


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda results: iter(()))


def words(options, **others):
    written = ["flow"]
    for name, value in {**options, **others}.items():
        written += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return written


def depth_by_hand(options):
    """Differentiate the plain Transformers loss of each row at every hidden state."""
    model = AutoModelForCausalLM.from_pretrained(options["model_name"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(options["model_name"])
    with Path(options["dataset"]).open(encoding="utf-8") as file:
        rows = [row for row in file.read().splitlines() if len(row) > 50]
    last = []
    model.model.layers[-1].register_forward_hook(
        lambda module, inputs, output: last.append(
            output if isinstance(output, torch.Tensor) else output[0]  # a tuple in Transformers 4
        )
    )
    squares, tokens = 0.0, 0
    for row in rows:
        ids = tokenizer(row, truncation=True, max_length=20, return_tensors="pt")["input_ids"]
        output = model(input_ids=ids, labels=ids, output_hidden_states=True)
        states = [*output.hidden_states[:-1], last.pop()]
        found = torch.autograd.grad(output.loss, states)
        squares = squares + torch.stack([each.double().square().sum() for each in found])
        tokens += ids.shape[1]
    return (squares / tokens).sqrt().numpy()


def test_the_gradient_along_depth_is_that_of_the_plain_loss(options):
    results = backlight.flow(**options, view="residual")

    table = results.tables["depth"]
    np.testing.assert_allclose(table["gradient_norm"], depth_by_hand(options), rtol=1e-5)
    assert table["depth"].tolist() == [0, 1, 2, 3]


def test_both_paths_of_a_half_add_up_along_depth(options):
    results = backlight.flow(**options, view="residual")

    table, depth = results.tables["residual"], results.tables["depth"]["gradient_norm"]
    first = table.select((table["layer"] == 0) & (table["half"] == "attention"))
    assert first["input_norm"][0] == pytest.approx(depth[0], rel=1e-6)
    last = table.select((table["layer"] == 2) & (table["half"] == "mlp"))
    assert last["direct_norm"][0] == pytest.approx(depth[-1], rel=1e-6)


@pytest.mark.parametrize("view", [*VIEWS, "all"])
def test_a_view_gives_its_own_tables_and_files(options, place, view, capsys):
    assert cli.main(words(options, view=view, output_dir="run", table=True)) == 0

    expected = set().union(*VIEWS.values()) if view == "all" else VIEWS[view]
    manifest = json.loads((place / "run/manifest.json").read_text(encoding="utf-8"))
    tables = {f"tables/{name}.csv" for name in expected}
    tables |= {f"passage_groups/{name}.npz" for name in expected & GROUPED}
    always = {"config.yaml", "metadata.json", "consolidated_results.npz", "index.html"}
    assert set(manifest["files"]) == tables | always
    printed = capsys.readouterr().out
    assert ("cosine of each surrogate" in printed) == (view in ("norms", "all"))
    assert ("slope of its logarithm" in printed) == (view in ("residual", "all"))


def test_only_the_layers_asked_for_are_told_but_depth_is_of_all(options):
    results = backlight.flow(**options, layers="1")

    assert set(results.tables["residual"]["layer"]) == {1}
    assert set(results.tables["attention"]["layer"]) == {1}
    assert results.tables["depth"].num_rows == 4


def test_a_layer_beyond_the_model_is_an_error(options):
    with pytest.raises(UnknownLayerError, match="3 layers, 0 to 2"):
        backlight.flow(**options, layers="0-3")


@pytest.fixture
def bloom():
    return subject_of("bloom")


def test_a_model_without_the_attention_interface_keeps_its_other_views(
    bloom, text_file, caplog, capsys
):
    options = {"dataset": str(text_file), "max_length": 20}
    results = backlight.flow(subject=bloom, **options)

    assert set(results.tables) == VIEWS["norms"] | VIEWS["residual"]
    assert "attention" in results.metadata["left_out"]
    assert "The view of attention is left out" in caplog.text
    with pytest.raises(UnsupportedSiteError, match="attention"):
        backlight.flow(subject=bloom, **options, view="attention")


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(options):
    whole = backlight.flow(**options, output_dir="whole")
    with stopping(setup, "survey_flow", 2), pytest.raises(KeyboardInterrupt):
        backlight.flow(**options, output_dir="part")
    resumed = backlight.flow(**options, output_dir="part", resume=True)

    for name, array in whole.data.items():
        np.testing.assert_array_equal(resumed.data[name], array, err_msg=name)


def test_a_finished_run_is_read_back_and_not_measured_again(options, place):
    first = backlight.flow(**options, output_dir="run")
    before = contents(place / "run")

    again = backlight.flow(**options, output_dir="run", resume=True)

    assert contents(place / "run") == before
    assert set(again.tables) == set(first.tables)
    with pytest.raises(RunDirectoryError, match="already holds a run"):
        backlight.flow(**options, output_dir="run")
