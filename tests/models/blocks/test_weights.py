"""Weights that come and go: read once for a group of batches, and counted before they are read."""

import pytest
import torch
from safetensors.torch import save_file

from backlight.capture.blockwise import record_by_blocks
from backlight.capture.record import record
from backlight.errors import ModelError
from backlight.models.blocks.rerun import Blocks
from backlight.models.blocks.weights import Place, StoredWeights, let_weights_pass, weight_bytes
from backlight.models.passing_blocks import PassingBlocks
from zoo.subjects import batch_of, subject_of, tappable


def stored(model, folder, dtype=torch.float32):
    file = folder / "model.safetensors"
    unique = dict(model.named_parameters())  # a shared weight once
    save_file({name: each.detach().contiguous() for name, each in unique.items()}, file)
    places = {name: Place(file=file, name=name, dtype=torch.float32) for name in unique}
    return StoredWeights(places=places, dtype=dtype)


def blanked(subject, weights):
    """Take a model's weights away, and let them come when they are needed."""
    blocks = Blocks.of(subject)
    with torch.no_grad():
        for module in subject.model.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                blank = torch.nn.Parameter(parameter.to("meta"), requires_grad=False)
                module._parameters[name] = blank
    holding = let_weights_pass(subject.model, blocks.modules, weights)
    return PassingBlocks(modules=blocks.modules, num_members=blocks.num_members, holding=holding)


def test_a_group_s_gradients_are_each_batch_s_own_and_each_block_is_read_twice(
    tmp_path, monkeypatch
):
    subject = subject_of("llama")
    batches = [batch_of((0, 1)), batch_of((2,)), batch_of((3, 4, 5))]
    sites = tappable(subject)
    expected = [record(subject, batch, sites) for batch in batches]
    blocks = blanked(subject, stored(subject.model, tmp_path))
    read, reading = [], StoredWeights.read
    monkeypatch.setattr(
        StoredWeights, "read", lambda self, names: read.extend(names) or reading(self, names)
    )
    tapes = record_by_blocks(subject, blocks, batches, sites)
    counts = {name: read.count(name) for name in set(read)}
    assert {counts[f"model.layers.{layer}.mlp.up_proj.weight"] for layer in (0, 1)} == {2}
    assert counts["model.layers.2.mlp.up_proj.weight"] == 1  # the last one is turned around in
    for own, tape in zip(expected, tapes, strict=True):
        assert torch.equal(tape.value, own.value)
        for name, gradient in own.gradients.items():
            assert torch.equal(tape.gradients[name], gradient), name


def test_a_weight_that_is_in_no_file_is_refused(tmp_path):
    subject = subject_of("llama")
    weights = stored(subject.model, tmp_path)
    places = {n: p for n, p in weights.places.items() if n != "model.norm.weight"}
    with pytest.raises(ModelError, match=r"model\.norm\.weight.* has no tensor of its own"):
        blanked(subject, StoredWeights(places=places, dtype=torch.float32))


def test_only_weights_that_are_stored_in_another_format_take_memory(tmp_path):
    model = subject_of("llama").model
    blocks = list(model.model.layers)
    total = sum(each.numel() for each in model.parameters())
    inside = sum(each.numel() for each in blocks[0].parameters())
    as_stored = weight_bytes(model, blocks, stored(model, tmp_path))
    assert (as_stored.all, as_stored.outside, as_stored.block) == (4 * total, 0, 0)
    halved = weight_bytes(model, blocks, stored(model, tmp_path, torch.bfloat16))
    assert halved.all == 2 * total
    assert halved.block == 2 * inside
    assert halved.outside == 2 * (total - 3 * inside)
