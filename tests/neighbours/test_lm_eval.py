"""The file that ``backlight export --to steered`` writes is read by lm-eval's own loader.

It needs no more of lm-eval than its files: ``pip install --no-deps --target FOLDER
lm-eval==0.4.13``, and FOLDER in PYTHONPATH.
"""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import backlight
from backlight import cli
from backlight.dictionaries.formats import saelens
from zoo.dictionaries import random_dictionary
from zoo.folders import lines, save_causal
from zoo.models import tiny_model

hf_steered = pytest.importorskip("lm_eval.models.hf_steered")

pytestmark = pytest.mark.filterwarnings("ignore")

LAYERS = (0, 2)


@pytest.fixture
def dictionaries():
    return {layer: random_dictionary(32, dtype=torch.float32, seed=layer) for layer in LAYERS}


@pytest.fixture
def libraries(monkeypatch, dictionaries):
    """Stand-ins for the two libraries that lm-eval reads dictionaries with."""

    def loaded(folder):
        found = dictionaries[int(re.search(r"\d+", folder)[0])]
        return SimpleNamespace(W_dec=found.rows, b_dec=found.bias)

    sae_lens = SimpleNamespace(
        SAE=SimpleNamespace(from_pretrained=lambda release, sae_id: (loaded(sae_id), {}, None))
    )
    sparsify = SimpleNamespace(
        SparseCoder=SimpleNamespace(load_from_hub=lambda name, hookpoint: loaded(hookpoint))
    )
    monkeypatch.setitem(sys.modules, "sae_lens", sae_lens)
    monkeypatch.setitem(sys.modules, "sparsify", sparsify)


@pytest.fixture
def run(tmp_path, monkeypatch, dictionaries):
    monkeypatch.chdir(tmp_path)
    Path("rows.txt").write_text("\n".join(lines(12)))
    for layer, each in dictionaries.items():
        hook = f"blocks.{layer}.hook_mlp_out"
        saelens.write(each, Path("saes") / f"layer_{layer}", model_name="llama", hook_name=hook)
    return backlight.sae(
        model_name=str(save_causal(Path("model"))),
        dataset="rows.txt",
        sae_path="saes",
        device="cpu",
        allow_poor_reconstruction=True,
        figures="none",
        output_dir="run",
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--sparse_model", "them", "--sae_id", "layer_{layer}"],
        ["--loader", "sparsify", "--sparse_model", "no/where", "--hookpoint", "layers.{layer}.mlp"],
    ],
    ids=["sae_lens", "sparsify"],
)
def test_lm_eval_finds_the_largest_feature_of_each_layer_and_its_module(
    run, libraries, words, dictionaries
):
    to = ["export", "run", "--to", "steered", "--output", "steer.csv", "--top", "3"]
    assert cli.main([*to, "--coefficient", "4.5", *words]) == 0

    read = hf_steered.SteeredModel.derive_steer_config("steer.csv")

    assert list(read) == [f"layers.{layer}.mlp" for layer in LAYERS]
    for layer, told in zip(LAYERS, read.values(), strict=True):
        largest = int(np.argmax(run.statistics[f"layer_{layer}_mean_abs"]))
        assert torch.equal(told["steering_vector"], dictionaries[layer].rows[largest])
        assert (told["action"], told["steering_coefficient"]) == ("clamp", 4.5)


def test_lm_eval_hooks_the_modules_that_are_named(run, libraries, dictionaries):
    words = ["--sparse_model", "them", "--sae_id", "layer_{layer}"]
    to = ["export", "run", "--to", "steered", "--output", "steer.csv"]
    assert cli.main([*to, *words]) == 0
    read = hf_steered.SteeredModel.derive_steer_config("steer.csv")
    model, kept = tiny_model("llama"), {}

    def clamped(name, told):
        direction = told["steering_vector"] / told["steering_vector"].norm()

        def steered(acts):
            bias = told["bias"]
            kept[name] = hf_steered.SteeredModel.clamp(acts, direction, 0.0, None, bias)
            return kept[name]

        return steered

    with hf_steered.steer(model, {name: clamped(name, told) for name, told in read.items()}):
        model(torch.tensor([[5, 9, 3]]))

    assert set(kept) == {f"layers.{layer}.mlp" for layer in LAYERS}
    for name, told in read.items():
        along = (kept[name] - told["bias"]) @ told["steering_vector"]
        assert torch.allclose(along, torch.zeros_like(along), atol=1e-5)
