"""The files of the dictionary that comes with the package."""

from importlib.resources import files

import pytest
import torch

from backlight.dictionaries.collection import find_dictionaries, read_dictionary

FOLDER = files("backlight") / "data" / "dictionaries" / "smollm2" / "layer_15_mlp_out"


def test_it_is_small_and_has_a_card():
    sizes = {file.name: len(file.read_bytes()) for file in FOLDER.iterdir()}

    assert set(sizes) == {"README.md", "cfg.json", "sae_weights.safetensors"}
    assert sum(sizes.values()) <= 6 * 2**20
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for told in ("explained variance", "L0", "loss recovered", "Apache-2.0", "Q4_1", "train-sae"):
        assert told in card


def test_it_has_what_its_card_says():
    found = find_dictionaries("smollm2").cards[15]
    dictionary = read_dictionary("smollm2", dtype=torch.float32, device=torch.device("cpu"))

    assert found.model == "smollm2"
    assert found.reads == found.writes == "blocks.15.hook_mlp_out"
    assert tuple(dictionary.rows.shape) == (2304, 576)
    assert dictionary.rows.norm(dim=1).tolist() == pytest.approx([1.0] * 2304, abs=1e-3)
