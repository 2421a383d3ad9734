"""``backlight tokens --dry_run`` says what a survey of prompts would take, and does no more."""

import re
from functools import partial

import numpy as np
import pytest

import backlight
from backlight import cli
from backlight.errors import ConfigError
from backlight.runs.shards import cut
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.dry_run import estimate, probing
from backlight.surveys.driver.material.opening import Opening
from backlight.surveys.driver.shards import sharding
from backlight.surveys.tokens import TOKENS
from zoo.folders import contents

pytestmark = pytest.mark.usefixtures("place")

THINGS = ("light", "a gradient", "every little word", "a", "the next", "the model of a", "back")


@pytest.fixture
def asked(model_folder, place):
    """Options of seven prompts, some of which have no middle of a field."""
    (place / "things.csv").write_text("\n".join(["thing", *THINGS]) + "\n")
    return {
        "model_name": str(model_folder),
        "device": "cpu",
        "template": "the {thing} comes",
        "answer": " back",
        "fields_csv": "things.csv",
        "batch_size": 2,
    }


def told(options, capsys):
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert cli.main(["tokens", *words, "--dry_run"]) == 0
    printed = capsys.readouterr().out
    return {**dict(re.findall(r"^(\w+) {2,}(.*)$", printed, flags=re.MULTILINE)), "": printed}


def ready(options):
    chosen = TOKENS.options(**options, dry_run=True)
    return chosen, TOKENS.door("measure").prepare(chosen, Opening(chosen, None, Clock()))


def test_model_sites_prompts_and_passes_are_those_of_the_run_and_nothing_is_written(
    asked, place, capsys
):
    before = contents(place)
    plan = told({**asked, "output_dir": "out", "sites": "mlp.out,attn.z"}, capsys)
    assert contents(place) == before

    num_tokens = backlight.tokens(**asked).metadata["num_tokens"]
    assert "`backlight tokens` with these options" in plan[""]
    assert " parameters, float32, on cpu" in plan["Model"]
    assert plan["Measured"] == "loss of 7 answers at mlp.out,attn.z, 6 sites"
    assert plan["Text"] == f"prompts of a template: 7 passages, {num_tokens} tokens"
    assert plan["Work"].startswith("4 batches in 1 shard, 1 forward pass for each batch (4 in all)")
    assert re.match(r"about \S+ [MG]B at most", plan["Memory"])
    assert re.match(r"about \S+ s: |about less than 1 s: ", plan["Time"])


def test_passes_along_a_path_are_counted(asked, capsys):
    plan = told({**asked, "path": 2, "target_layers": "0"}, capsys)

    # The true pass, and along the path its nodes and its end.
    assert "4 forward passes for each batch" in plan["Work"]


def test_merging_and_tables_are_tried_with_all_prompts(asked, monkeypatch):
    monkeypatch.setattr(sharding, "cut", partial(cut, least=10))
    chosen, measurement = ready(asked)
    assert len(measurement.sharding.shards) == 3

    expected = estimate.expect(TOKENS, chosen, measurement, 0.0)

    assert measurement.state.num_batches == 4  # of two trials
    assert not np.isnan(measurement.state.nats).any()
    assert expected.probe.join_seconds > 0
    whole = ready(asked)[1]
    list(whole.sharding.steps(whole.sharding.batches, whole.state))
    size = sum(array.nbytes for array in whole.state.state().values())
    assert expected.probe.state_bytes == size


def test_a_single_prompt_is_tried_too(asked):
    _, measurement = ready({**asked, "n_samples": 1})

    assert probing.probe(measurement).num_passes == 1
    assert not np.isnan(measurement.state.nats).any()


def test_in_python_it_is_refused(asked):
    with pytest.raises(ConfigError, match="on the command line: run `backlight tokens --dry_run`"):
        backlight.tokens(**asked, dry_run=True)
