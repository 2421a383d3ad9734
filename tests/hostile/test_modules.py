"""Hand-written modules of every layout, output and wiring agree with autograd or are refused."""

import itertools

import numpy as np
import pytest
import torch

from backlight.capture.record import record, record_activations
from backlight.capture.splice import splicing
from backlight.data.batches import Batch, Passages
from backlight.models.subject import subject_from_module
from zoo.tokenizers import WordTokenizer
from zoo.written import BLOCKS, LAYOUTS, OUTPUTS, VOCABULARY, Written, expected_gradients


def some_batch(lengths=(5, 9, 7)):
    random = np.random.default_rng(1)
    passages = Passages(tokens=[random.integers(0, VOCABULARY, length) for length in lengths])
    return Batch.of(passages, range(len(lengths)))


def combinations():
    """Every layout with every block, and every output with a layout and a block of its own."""
    outputs = itertools.cycle(OUTPUTS)
    yield from ((layout, block, next(outputs)) for layout in LAYOUTS for block in BLOCKS)
    layouts, blocks = itertools.cycle(LAYOUTS), itertools.cycle(BLOCKS)
    yield from ((next(layouts), next(blocks), output) for output in OUTPUTS)


@pytest.mark.parametrize(("layout", "block", "output"), [*combinations()])
def test_numbers_are_those_of_autograd_whatever_the_layout(layout, block, output):
    torch.manual_seed(0)
    model, batch = Written(layout, block, output).double(), some_batch()
    subject = subject_from_module(model, WordTokenizer())
    sites = [subject.sites[f"blocks.{layer}"] for layer in range(2)]

    tape = record(subject, batch, sites, keep_activations=True)

    pick, lay_out, logits = BLOCKS[block][1], LAYOUTS[layout].back, OUTPUTS[output][1]
    expected = expected_gradients(model, logits, pick, ["blocks.0", "blocks.1"], batch)
    for site in sites:
        assert site.width == 8
        for row, gradient in enumerate(expected[site.name]):
            length = int(batch.lengths[row])
            found = tape.gradients[site.name][row]
            right = lay_out(gradient, 1, length)[0]
            torch.testing.assert_close(found[:length], right, rtol=1e-10, atol=1e-14)
            assert (found[length:] == 0).all()
    without = record_activations(subject, batch, sites)
    for site in sites:
        torch.testing.assert_close(tape.activations[site.name], without.activations[site.name])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_takes_a_tensors_place_is_laid_out_as_the_model_has_it(layout):
    torch.manual_seed(0)
    model, batch = Written(layout, "dict").double(), some_batch()
    subject = subject_from_module(model, WordTokenizer())
    first, second = (subject.sites[f"blocks.{layer}"] for layer in range(2))
    own = record_activations(subject, batch, [first, second]).activations
    plain = Written("B T W", "dict").double()
    plain.load_state_dict(model.state_dict())
    beside = subject_from_module(plain, WordTokenizer())

    with splicing(subject, {first.name: own[first.name].flip(-1)}):
        found = record_activations(subject, batch, [second]).activations[second.name]
    with splicing(beside, {first.name: own[first.name].flip(-1)}):
        there = beside.sites[second.name]
        right = record_activations(beside, batch, [there]).activations[second.name]

    torch.testing.assert_close(found, right)
    assert not torch.allclose(found, own[second.name])
