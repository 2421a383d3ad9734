"""Prompts asked of a model that is larger than --memory: block by block, with the same numbers."""

from pathlib import Path

import pytest
import torch
import yaml

import backlight
from backlight import cli
from backlight.capture import record
from backlight.errors import ConfigError
from backlight.surveys.driver.material import fitting, opening
from backlight.surveys.tokens.measure import prompts, recording
from zoo.folders import numbers, save_causal

pytestmark = pytest.mark.usefixtures("place")

LITTLE, MUCH = "130kB", "50MB"  # less than the weights of a tiny model, and more
THINGS = ("light", "a gradient", "every little word", "a", "the next", "the model of a", "back")


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Options of seven prompts, for a model that is to be named; memory is counted from here on."""
    monkeypatch.setattr(fitting, "anonymous_memory", lambda: 0)
    (tmp_path / "things.csv").write_text("\n".join(["thing", *THINGS]) + "\n")
    return {
        "device": "cpu",
        "template": "the {thing} comes",
        "answer": " back",
        "fields_csv": "things.csv",
        "batch_size": 2,
        "figures": "none",
    }


def way_of(run):
    provenance = yaml.safe_load(Path(run, "config.yaml").read_text())["provenance"]
    return provenance.get("memory", {}).get("way")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("llama", {"sites": "resid.post,attn.z,mlp.out"}),
        ("qwen2", {"objective": "logit"}),
        ("gemma3", {"target_positions": "all"}),
    ],
)
def test_arrays_and_tables_are_the_same_bytes_with_and_without(name, options, asked, tmp_path):
    asked |= {**options, "model_name": str(save_causal(tmp_path / name, name))}
    for memory, run in ((None, "whole"), (LITTLE, "passing")):
        backlight.tokens(**asked, memory=memory, output_dir=run)

    assert (way_of("whole"), way_of("passing")) == (None, "block by block")
    assert numbers(Path("whole")) == numbers(Path("passing")) != {}


def test_where_the_model_fits_it_is_measured_as_a_whole_and_along_paths(asked, model_folder):
    backlight.tokens(**asked, model_name=str(model_folder), path=2, memory=MUCH, output_dir="run")

    assert way_of("run") == "whole"


def test_each_prompt_of_batches_that_go_together_is_judged_by_itself(
    asked, model_folder, monkeypatch
):
    together, real = [], record.record_by_blocks

    def counted(subject, blocks, batches, sites, **how):
        together.append(len(batches))
        return real(subject, blocks, batches, sites, **how)

    def odd(output, batch, *given):
        return torch.tensor([prompt % 2 == 1 for prompt in batch.passages])

    monkeypatch.setattr(record, "record_by_blocks", counted)
    monkeypatch.setattr(recording, "answered", odd)
    found = backlight.tokens(**asked, model_name=str(model_folder), memory=LITTLE)

    assert max(together) > 1
    assert found.tables["prompts"]["right"].tolist() == [False, True] * 3 + [False]


@pytest.mark.parametrize("memory", [None, LITTLE, MUCH])
def test_each_prompt_is_split_into_tokens_once(memory, asked, model_folder, monkeypatch):
    split, real = [], prompts.locate

    def counted(prompt, tokenizer):
        split.append(prompt.text)
        return real(prompt, tokenizer)

    monkeypatch.setattr(prompts, "locate", counted)
    backlight.tokens(**asked, model_name=str(model_folder), memory=memory)

    assert split == [f"the {thing} comes" for thing in THINGS]


def test_a_batch_is_planned_for_as_large_as_it_is(asked, model_folder):
    # Of seven prompts the longest has the four tokens of its field, three more and an answer.
    asked |= {"model_name": str(model_folder), "batch_size": 64}
    with pytest.raises(ConfigError, match=r": 7 x 7 tokens take .* or lower --batch_size\.$"):
        backlight.tokens(**asked, memory="20kB")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": 2}, "--path cannot be measured block by block. Leave --path out, or give more"),
        ({"backward": "frozen"}, "--backward frozen cannot be measured .*Use --backward true, or"),
        ({"check": True}, "--check cannot be measured .*`backlight check` where the model fits"),
        ({"batch_size": "auto"}, "batch_size: with --memory, what fits depends on it; give a num"),
    ],
)
def test_what_needs_the_whole_model_is_refused_before_it_is_loaded(
    options, message, asked, model_folder, monkeypatch
):
    monkeypatch.setattr(fitting, "load_passing_subject", None)
    with pytest.raises(ConfigError, match=message):
        backlight.tokens(**{**asked, **options}, model_name=str(model_folder), memory=LITTLE)


def test_to_list_positions_the_model_is_not_loaded_as_a_whole(
    asked, model_folder, monkeypatch, capsys
):
    for module in (opening, fitting):
        monkeypatch.setattr(module, "load_subject", None)
    asked |= {"model_name": str(model_folder), "memory": LITTLE}
    words = [word for name, value in asked.items() for word in (f"--{name}", str(value))]

    assert cli.main(["tokens", *words, "--list_positions"]) == 0
    assert "Positions of 7 prompts" in capsys.readouterr().out


def test_a_dry_run_tells_of_the_passes_of_blocks(asked, model_folder, capsys):
    asked |= {"model_name": str(model_folder), "memory": LITTLE}
    words = [word for name, value in asked.items() for word in (f"--{name}", str(value))]

    assert cli.main(["tokens", *words, "--dry_run"]) == 0
    # Every block but the last runs twice.
    assert ", 1.67 forward passes for each batch" in capsys.readouterr().out
