import re

import pytest
import torch

from backlight.errors import ModelError
from backlight.models import versions
from backlight.models.loading import older
from zoo.models import tiny_model


@pytest.mark.parametrize(
    ("installed", "is_enough"),
    [("4.49.0", False), ("4.50.0", True), ("4.57.6", True), ("5.0.0rc1", True), ("5.24.0", True)],
)
def test_versions_are_compared_by_their_numbers(monkeypatch, installed, is_enough):
    monkeypatch.setattr(versions, "version", lambda package: installed)

    assert versions.is_at_least("4.50") is is_enough


def test_a_version_that_is_too_old_is_told_with_the_one_that_is_needed(monkeypatch):
    monkeypatch.setattr(versions, "version", lambda package: "4.57.6")

    with pytest.raises(
        ModelError,
        match=re.escape(
            "--memory needs transformers 5.4 or later, and 4.57.6 is installed: "
            "pip install 'transformers>=5.4'."
        ),
    ):
        versions.require("5.4", "--memory")


def test_a_version_that_will_do_is_not_refused(monkeypatch):
    monkeypatch.setattr(versions, "version", lambda package: "2.4.1+cu121")

    versions.require("2.4", "backlight", "torch")


def test_number_formats_have_the_name_that_the_installed_version_knows(monkeypatch):
    monkeypatch.setattr(versions, "version", lambda package: "4.55.4")
    assert older.format_option(torch.float32) == {"torch_dtype": torch.float32}

    monkeypatch.setattr(versions, "version", lambda package: "4.56.0")
    assert older.format_option(torch.float32) == {"dtype": torch.float32}


def test_experts_are_taken_one_by_one_by_an_option_of_version_5(monkeypatch):
    monkeypatch.setattr(versions, "version", lambda package: "4.57.6")
    assert older.one_by_one() == {}

    monkeypatch.setattr(versions, "version", lambda package: "5.0.0")
    assert older.one_by_one() == {"experts_implementation": "eager"}


def test_a_mask_is_cut_to_the_keys():
    mask = torch.arange(12).view(1, 1, 3, 4)

    assert torch.equal(older.of_the_keys(mask, 3), mask[..., :3])
    assert older.of_the_keys(mask, 4) is mask
    assert older.of_the_keys(None, 4) is None


def test_two_weights_that_transformers_4_ties_into_one_are_refused(monkeypatch, tmp_path):
    from safetensors.torch import load_file, save_file

    from backlight.models.loading.inventory import take_inventory

    tied = tiny_model("qwen2", tie_word_embeddings=True)
    tied.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    table = stored["model.embed_tokens.weight"]
    monkeypatch.setattr(versions, "version", lambda package: "4.57.6")

    save_file({**stored, "lm_head.weight": table.clone()}, tmp_path / "model.safetensors")
    older.refuse_tied_away(tied, take_inventory(tmp_path), "mine")

    save_file({**stored, "lm_head.weight": table + 1}, tmp_path / "model.safetensors")
    with pytest.raises(
        ModelError, match=r"'lm_head\.weight' is 'model\.embed_tokens\.weight', but"
    ):
        older.refuse_tied_away(tied, take_inventory(tmp_path), "mine")
