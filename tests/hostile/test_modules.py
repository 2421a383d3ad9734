"""Hand-written modules of every layout, output and wiring agree with autograd or are refused."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import backlight
from backlight.capture.record import record, record_activations
from backlight.capture.splice import splicing
from backlight.data.batches import Batch, Passages
from backlight.errors import ModelError, UnsupportedSiteError
from backlight.models.modules import subject_from_module
from backlight.models.sites import refuse_problems
from zoo.odd import REFUSED, REFUSED_SITES, WORKING
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


@pytest.mark.parametrize("make", WORKING)
def test_numbers_of_an_odd_model_are_those_of_autograd(make):
    torch.manual_seed(0)
    model, batch = make().double(), some_batch()
    model.train()
    subject = subject_from_module(model, WordTokenizer())
    sites = [subject.sites[path] for path in WORKING[make]]

    tape = record(subject, batch, sites)

    def stream_of(output):
        return output[0] if isinstance(output, tuple) else output

    model.eval()
    logits_of = getattr(make, "logits", lambda y, b, t: y)
    expected = expected_gradients(model, logits_of, stream_of, list(WORKING[make]), batch)
    for path, layout in WORKING[make].items():
        for row, gradient in enumerate(expected[path]):
            length = int(batch.lengths[row])
            right = LAYOUTS[layout].back(gradient, 1, length)[0]
            found = tape.gradients[path][row]
            torch.testing.assert_close(found[:length], right, rtol=1e-9, atol=1e-13)
            assert (found[length:] == 0).all()


@pytest.mark.parametrize("make", WORKING)
def test_a_site_of_an_odd_model_has_the_same_gradient_alone(make):
    """The graph starts at that site; before it, nothing is walked back."""
    torch.manual_seed(0)
    model, batch = make().double(), some_batch()
    subject = subject_from_module(model, WordTokenizer())
    together = record(subject, batch, [subject.sites[path] for path in WORKING[make]])

    for path in WORKING[make]:
        alone = record(subject, batch, [subject.sites[path]]).gradients[path]
        torch.testing.assert_close(alone, together.gradients[path], rtol=1e-9, atol=1e-13)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_breaks_the_contract_is_refused_with_one_sentence(name):
    torch.manual_seed(0)
    make, sentence = REFUSED[name]

    with pytest.raises(ModelError, match=sentence) as refusal:
        subject_from_module(make(), WordTokenizer(), name="it")

    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("name", REFUSED_SITES)
def test_a_site_that_breaks_the_contract_is_refused_with_one_sentence(name):
    torch.manual_seed(0)
    make, path, sentence = REFUSED_SITES[name]
    subject = subject_from_module(make(), WordTokenizer(VOCABULARY))
    site = subject.sites[path]

    for measure in (
        lambda: record(subject, some_batch(), [site]),
        lambda: record_activations(subject, some_batch(), [site]),
        lambda: refuse_problems([site]),
    ):
        with pytest.raises(UnsupportedSiteError, match=sentence) as refusal:
            measure()
        assert str(refusal.value).startswith(f"{path} (")
        assert len(str(refusal.value)) < 400


def test_other_sites_of_a_model_with_a_bad_one_can_be_measured(text_file, tmp_path):
    subject = subject_from_module(REFUSED_SITES["two streams"][0](), WordTokenizer(VOCABULARY))
    asked = {"subject": subject, "dataset": str(text_file), "num_samples": 3, "max_length": 9}
    folder = tmp_path / "run"

    with pytest.raises(UnsupportedSiteError, match="several tensors"):
        backlight.layers(**asked, site="pairs.*", output_dir=folder)
    assert not folder.exists()
    results = backlight.layers(**asked, site="pairs.*.inner")

    assert (results.tables["layers"]["mean_abs"] > 0).all()


def test_a_model_that_gives_targets_all_logits_is_measured_through_forward():
    model = REFUSED["nanoGPT"][0]().double()
    subject = subject_from_module(model, WordTokenizer(), forward=lambda ids: model(ids, ids))

    found = record(subject, some_batch(), [subject.sites["blocks.0"]]).gradients["blocks.0"]

    expected = expected_gradients(
        Complete(model), lambda y, b, t: y, lambda y: y, ["model.blocks.0"], some_batch()
    )
    for row, gradient in enumerate(expected["model.blocks.0"]):
        length = gradient.shape[1]
        torch.testing.assert_close(found[row, :length], gradient[0], rtol=1e-9, atol=1e-13)


class Complete(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(ids, ids)[0]


class Chunking(nn.Module):
    """Reads four tokens at a time if there are many, so a module is used more than once."""

    def __init__(self):
        super().__init__()
        self.emb, self.block = nn.Embedding(VOCABULARY, 8), nn.Linear(8, 8)
        self.out, self.rare = nn.Linear(8, VOCABULARY), nn.Identity()

    def forward(self, ids):
        x = self.emb(ids)
        if ids.shape[1] <= 8:
            return self.out(self.block(self.rare(x)))
        return self.out(torch.cat([self.block(part) for part in x.split(4, dim=1)], dim=1))


@pytest.mark.parametrize("measure", [record, record_activations])
def test_what_passes_otherwise_in_a_longer_text_is_an_error_then(measure):
    subject = subject_from_module(Chunking(), WordTokenizer())
    names = ["block", "out"]
    sites = [subject.sites[name] for name in names]

    with pytest.raises(UnsupportedSiteError, match=r"block (passes more than once|holds)"):
        measure(subject, some_batch(), sites)
    with pytest.raises(UnsupportedSiteError, match="rare did not pass in this forward pass"):
        measure(subject, some_batch(), [subject.sites["rare"]])
    measure(subject, some_batch((5, 3)), [*sites, subject.sites["rare"]])
