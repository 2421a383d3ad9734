"""Weights that come and go give the whole model's gradients, and are gone afterwards."""

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from backlight.capture.blockwise import record_by_blocks
from backlight.capture.record import record
from backlight.errors import ModelError
from backlight.models.blocks import Blocks
from backlight.models.families import family_of
from backlight.models.loading.loaded import read_head
from backlight.models.passing_weights import StoredWeights, let_weights_pass, without_weights
from backlight.models.subject import Subject
from zoo.subjects import batch_of, subject_of, tappable


def skeleton_of(model):
    with without_weights():
        blank = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32).eval()
    return blank, list(blank.get_submodule(family_of(blank).blocks))


def stored(model, folder):
    file = folder / "model.safetensors"
    unique = dict(model.named_parameters())  # a shared weight once
    save_file({name: each.detach().contiguous() for name, each in unique.items()}, file)
    return StoredWeights(places={name: (file, name) for name in unique}, dtype=torch.float32)


def passing(subject, folder):
    """The same subject, on a model whose blocks read their weights from a file."""
    blank, blocks = skeleton_of(subject.model)
    let_weights_pass(blank, blocks, stored(subject.model, folder))
    family = family_of(blank)
    trunk, head = blank.get_submodule(family.trunk), read_head(blank, family)
    return Subject(
        name=subject.name,
        model=blank,
        tokenizer=subject.tokenizer,
        forward=lambda input_ids: trunk(input_ids=input_ids, use_cache=False)[0],
        sites={
            n: s for n, s in subject.sites.items() if s.tap.side not in ("query", "key", "value")
        },
        num_layers=subject.num_layers,
        head=head,
    ), blocks


@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen3", "gpt2", "mixtral"])
def test_gradients_are_those_of_the_whole_model_and_no_block_keeps_its_weights(name, tmp_path):
    whole = subject_of(name)
    subject, blocks = passing(whole, tmp_path)
    batch, sites = batch_of(), tappable(subject)
    expected = record(whole, batch, sites)
    found = record_by_blocks(subject, Blocks.of(subject), batch, sites)
    for site in sites:
        assert torch.equal(found.gradients[site.name], expected.gradients[site.name]), site.name
    assert torch.equal(found.value, expected.value)
    assert all(each.is_meta for block in blocks for each in block.parameters() if each.dim() > 1)


def test_a_weight_that_is_in_no_file_is_refused(tmp_path):
    whole = subject_of("llama")
    blank, blocks = skeleton_of(whole.model)
    weights = stored(whole.model, tmp_path)
    places = {n: p for n, p in weights.places.items() if n != "model.norm.weight"}
    with pytest.raises(ModelError, match=r"model\.norm\.weight.* has no tensor of its own"):
        let_weights_pass(blank, blocks, StoredWeights(places=places, dtype=torch.float32))
