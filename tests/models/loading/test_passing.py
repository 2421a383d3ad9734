"""A folder's model whose weights come and go is proven, and measured like the whole one."""

import torch

from backlight.capture.blockwise import record_by_blocks
from backlight.capture.record import record
from backlight.data.batches import Batch, Passages
from backlight.models.blocks import Blocks
from backlight.models.loading import load_subject
from backlight.models.loading.passing import load_passing_subject
from backlight.models.loading.smollm2 import smollm2_folder


def test_smollm2_gives_the_gradients_of_the_whole_model_to_the_last_bit():
    whole = load_subject("smollm2", device="cpu", dtype="float32")
    subject = load_passing_subject(smollm2_folder(), dtype=torch.float32)
    tokens = torch.arange(24).numpy() * 37 % 9999
    batch = Batch.of(Passages(tokens=[tokens, tokens[5:16]]), (0, 1))
    sites = [whole.sites[f"layers.{layer}.mlp.out"] for layer in (0, 13, 29)]
    sites += [whole.sites["embed.out"], whole.sites["final_norm.out"]]
    expected = record(whole, batch, sites)
    found = record_by_blocks(subject, Blocks.of(subject), batch, sites)
    for site in sites:
        assert torch.equal(found.gradients[site.name], expected.gradients[site.name]), site.name
    assert subject.facts["weights_sample"] == whole.facts["weights_sample"]
    blocks = subject.model.get_submodule("model.layers")
    assert all(each.is_meta for each in blocks.parameters() if each.dim() > 1)
