"""Running a model from one of its blocks on is running it whole, for every wiring in the table."""

import pytest
import torch
from torch import nn

from backlight.capture.record import record_activations
from backlight.errors import UnsupportedSiteError
from backlight.models.blocks.rerun import Blocks
from backlight.models.modules import subject_from_module
from zoo.models import CONFIGS
from zoo.subjects import batch_of, subject_of
from zoo.tokenizers import WordTokenizer


def streams_of(subject, batch):
    """Record the residual stream before each block."""
    names = [f"layers.{layer}.resid.pre" for layer in range(subject.num_layers)]
    seen = record_activations(subject, batch, [subject.sites[name] for name in names]).activations
    return [seen[name] for name in names]


def counting(module):
    """Count how often each module inside a block is called."""
    calls = {}

    def hook(called, inputs, output):
        calls[called] = calls.get(called, 0) + 1

    handles = [
        part.register_forward_hook(hook) for part in module.modules() if not list(part.children())
    ]
    return calls, handles


@pytest.mark.parametrize("name", CONFIGS)
def test_entering_at_any_layer_gives_the_output_of_the_whole_pass(name):
    subject, batch = subject_of(name), batch_of()
    blocks, streams = Blocks.of(subject), streams_of(subject, batch)
    with torch.no_grad():
        expected = subject.forward(batch.input_ids)

        for layer, stream in enumerate(streams):
            given = stream.clone()
            with blocks.entering(layer, given):
                found = subject.forward(batch.input_ids)

            torch.testing.assert_close(found, expected, rtol=0, atol=0)
            torch.testing.assert_close(given, stream, rtol=0, atol=0)  # it will be used again

        torch.testing.assert_close(subject.forward(batch.input_ids), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_given_is_what_the_layer_reads(name):
    """Another stream gives another output, so the first blocks' own output cannot be in use."""
    subject, batch = subject_of(name), batch_of()
    blocks, stream = Blocks.of(subject), streams_of(subject, batch)[1]
    other = stream.flip(-1)
    with blocks.entering(1, other):
        seen = record_activations(subject, batch, [subject.sites["layers.1.resid.pre"]])

    torch.testing.assert_close(seen.activations["layers.1.resid.pre"], other, rtol=0, atol=0)


@pytest.mark.parametrize("name", CONFIGS)
def test_blocks_before_are_not_run_and_the_others_are(name):
    subject, batch = subject_of(name), batch_of()
    blocks, streams = Blocks.of(subject), streams_of(subject, batch)
    layer = len(streams) - 1
    counts = [counting(block) for block in blocks.modules]

    with torch.no_grad(), blocks.entering(layer, streams[layer]):
        subject.forward(batch.input_ids)

    for _, handles in counts:
        for handle in handles:
            handle.remove()
    assert [bool(calls) for calls, _ in counts] == [False] * layer + [True]


def test_blocks_are_whole_again_when_the_body_raises():
    subject, batch = subject_of("llama"), batch_of()
    blocks, streams = Blocks.of(subject), streams_of(subject, batch)
    with torch.no_grad():
        expected = subject.forward(batch.input_ids)

    with pytest.raises(RuntimeError, match="in the middle"), blocks.entering(2, streams[2]):
        raise RuntimeError("in the middle")

    assert not any("forward" in vars(block) for block in blocks.modules)
    with torch.no_grad():
        torch.testing.assert_close(subject.forward(batch.input_ids), expected, rtol=0, atol=0)


def test_a_forward_of_the_instance_is_put_back():
    """Accelerate wraps modules that way."""
    subject, batch = subject_of("llama"), batch_of()
    blocks, streams = Blocks.of(subject), streams_of(subject, batch)
    wrapped = blocks.modules[0]
    inner = wrapped.forward
    calls = []

    def forward(*args, **kwargs):
        calls.append(len(args))
        return inner(*args, **kwargs)

    wrapped.forward = forward
    with torch.no_grad(), blocks.entering(1, streams[1]):
        subject.forward(batch.input_ids)

    assert calls == []
    assert vars(wrapped)["forward"] is forward
    with torch.no_grad():
        subject.forward(batch.input_ids)
    assert len(calls) == 1


def test_contexts_can_be_nested():
    subject, batch = subject_of("gpt2"), batch_of()
    blocks, streams = Blocks.of(subject), streams_of(subject, batch)
    with torch.no_grad():
        expected = subject.forward(batch.input_ids)

        with blocks.entering(1, streams[1]):
            with blocks.entering(2, streams[2]):
                pass
            found = subject.forward(batch.input_ids)

    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_finding_the_blocks_leaves_no_hook_behind():
    subject = subject_of("qwen3")

    Blocks.of(subject)

    for module in subject.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_a_model_whose_blocks_are_not_known_is_refused_with_the_way_out():
    model = nn.Sequential(nn.Embedding(99, 8), nn.Linear(8, 99))
    subject = subject_from_module(model, WordTokenizer(), name="plain")

    with pytest.raises(
        UnsupportedSiteError, match=r"The blocks of plain are not known.*use --splice error"
    ):
        Blocks.of(subject)
