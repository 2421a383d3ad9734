"""The pass block by block against the whole pass: the same tape to the last bit."""

import pytest
import torch

from backlight.capture import blockwise
from backlight.capture.record import record
from backlight.errors import NonFiniteError, UnsupportedSiteError
from backlight.models.blocks.rerun import Blocks
from backlight.models.passing_blocks import PassingBlocks
from zoo.models import CONFIGS
from zoo.subjects import batch_of, subject_of, tappable


def blocks_of(subject, **how):
    blocks = Blocks.of(subject)
    return PassingBlocks(modules=blocks.modules, num_members=blocks.num_members, **how)


def record_by_blocks(subject, blocks, batch, sites, **how):
    return blockwise.record_by_blocks(subject, blocks, [batch], sites, **how)[0]


def assert_same(found, expected):
    assert found.gradients.keys() == expected.gradients.keys()
    for name, gradient in expected.gradients.items():
        assert torch.equal(found.gradients[name], gradient), name
    assert found.activations.keys() == expected.activations.keys()
    for name, activation in expected.activations.items():
        assert torch.equal(found.activations[name], activation), name
    assert found.norms.keys() == expected.norms.keys()
    for name, norm in expected.norms.items():
        assert torch.equal(found.norms[name], norm), name
    assert torch.equal(found.nats, expected.nats)
    assert torch.equal(found.value, expected.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_tape_of_all_sites_is_that_of_the_whole_pass_to_the_last_bit(name):
    subject = subject_of(name)
    batch, sites = batch_of(), tappable(subject)
    expected = record(subject, batch, sites, keep_activations=True, norms=sites[:3])
    found = record_by_blocks(
        subject, blocks_of(subject), batch, sites, keep_activations=True, norms=sites[:3]
    )
    assert_same(found, expected)
    assert all(gradient.abs().sum() > 0 for gradient in expected.gradients.values())


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])
def test_each_site_alone_is_that_of_the_whole_pass(name):
    subject = subject_of(name)
    blocks, batch = blocks_of(subject), batch_of()
    for site in tappable(subject):
        assert_same(
            record_by_blocks(subject, blocks, batch, [site]), record(subject, batch, [site])
        )


def test_blocks_below_the_earliest_site_run_once_and_the_others_twice():
    subject = subject_of("llama")
    blocks = blocks_of(subject)
    runs = []
    for layer, block in enumerate(blocks.modules):
        block.mlp.register_forward_hook(lambda *_, layer=layer: runs.append(layer))
    last = len(blocks.modules) - 1
    record_by_blocks(subject, blocks, batch_of(), [subject.sites[f"layers.{last}.mlp.out"]])
    assert runs == [*range(last + 1)]  # the last one is turned around in
    runs.clear()
    record_by_blocks(subject, blocks, batch_of(), [subject.sites["layers.1.mlp.out"]])
    assert runs == [*range(last + 1), *reversed(range(1, last))]


def test_the_model_is_as_it_was_afterwards():
    subject = subject_of("llama")
    blocks = blocks_of(subject)
    held = [dict(vars(block)) for block in blocks.modules]
    record_by_blocks(subject, blocks, batch_of(), tappable(subject))
    assert [dict(vars(block)) for block in blocks.modules] == held


def test_a_loss_that_is_not_finite_is_told_with_the_place_where_it_began():
    subject = subject_of("llama")
    blocks = blocks_of(subject)
    with torch.no_grad():
        blocks.modules[1].mlp.down_proj.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match=r"layers\.1\.mlp\.out"):
        record_by_blocks(subject, blocks, batch_of(), [subject.sites["layers.0.mlp.out"]])


def test_a_block_that_runs_twice_is_refused():
    subject = subject_of("llama")
    trunk = subject.model.model
    trunk.layers[1] = trunk.layers[0]
    blocks = blocks_of(subject)
    with pytest.raises(UnsupportedSiteError, match="Block 1 of llama runs more than once"):
        record_by_blocks(subject, blocks, batch_of(), [subject.sites["layers.0.mlp.out"]])
