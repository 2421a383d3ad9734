"""A model in another number format for a while, against a copy that was made in that format."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from backlight.capture.record import record
from backlight.models.formats import format_of, in_format, size_in
from backlight.models.modules import subject_from_module
from zoo.subjects import batch_of, subject_of, tappable
from zoo.tokenizers import WordTokenizer
from zoo.unsound import VOCABULARY, WIDTH, unsound


def test_gradients_are_those_of_a_copy_made_in_float64():
    subject, batch = unsound(), batch_of()
    twin = subject_from_module(copy.deepcopy(subject.model).double(), WordTokenizer())

    with in_format(subject, torch.float64) as finer:
        found = record(finer, batch, tappable_of(subject))
    expected = record(twin, batch, tappable_of(twin))

    for name, gradient in expected.gradients.items():
        assert_close(found.gradients[name], gradient, rtol=1e-12, atol=1e-15)


def tappable_of(subject):
    return [site for site in tappable(subject) if site.problem is None]


def test_norms_that_ask_for_float32_are_computed_in_float64():
    """A Llama of float64 that nobody helps has the precision of float32 in its norms."""
    subject, batch = subject_of("llama"), batch_of()
    site = [subject.sites["layers.0.resid.pre"]]
    norms = [m for m in subject.model.modules() if type(m).__name__ == "LlamaRMSNorm"]

    with in_format(subject, torch.float64) as finer:
        found = record(finer, batch, site).gradients["layers.0.resid.pre"]
    twin = subject_of("llama", torch.float64)
    twin.model.load_state_dict(subject.model.state_dict())
    alone = record(twin, batch, site).gradients["layers.0.resid.pre"]
    for norm in twin.model.modules():
        if type(norm).__name__ == "LlamaRMSNorm":
            norm.forward = _plain_norm(norm)
    expected = record(twin, batch, site).gradients["layers.0.resid.pre"]

    assert norms
    scale = expected.abs().max()
    assert (found - expected).abs().max() < 1e-7 * scale  # softmax and rotary are float32 there
    assert (found - expected).abs().max() < (alone - expected).abs().max()


def _plain_norm(norm):
    def forward(x):
        return norm.weight * x * (x.square().mean(-1, keepdim=True) + norm.variance_epsilon).rsqrt()

    return forward


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_the_owners_weights_come_back_and_tied_ones_stay_tied(dtype):
    subject = subject_of("gpt2")
    before = list(subject.model.named_parameters(remove_duplicate=False))
    head = subject.head.weight

    with in_format(subject, dtype) as other:
        embedding = subject.model.transformer.wte.weight
        assert embedding.dtype == dtype
        assert embedding is subject.model.lm_head.weight is other.head.weight
        assert format_of(subject.model) == dtype

    after = list(subject.model.named_parameters(remove_duplicate=False))
    assert [name for name, _ in after] == [name for name, _ in before]
    assert all(a is b for (_, a), (_, b) in zip(after, before, strict=True))
    assert subject.head.weight is head


def test_weights_come_back_if_the_model_fails_in_the_other_format():
    class Fails(nn.Linear):
        def forward(self, x):
            if x.dtype == torch.float64:
                raise ZeroDivisionError
            return super().forward(x)

    model = nn.Sequential(nn.Embedding(VOCABULARY, WIDTH), Fails(WIDTH, VOCABULARY))
    subject, weight = subject_from_module(model, WordTokenizer()), model[1].weight

    with pytest.raises(ZeroDivisionError), in_format(subject, torch.float64) as finer:
        finer.forward(batch_of().input_ids)

    assert model[1].weight is weight
    assert torch.get_default_dtype() == torch.float32


def test_recurrent_modules_use_the_weights_that_are_put_in():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
            self.out = nn.Linear(WIDTH, VOCABULARY)

        def forward(self, ids):
            return self.out(self.lstm(self.embedding(ids))[0])

    subject, ids = subject_from_module(Recurrent(), WordTokenizer()), batch_of().input_ids
    plain = subject.forward(ids)
    twin = copy.deepcopy(subject.model).double().eval()

    with in_format(subject, torch.float64) as finer:
        assert_close(finer.forward(ids), twin(ids), rtol=1e-13, atol=1e-13)

    assert torch.equal(subject.forward(ids), plain)


def test_bytes_of_a_copy_count_tied_weights_once():
    model = nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 7, bias=False))
    assert size_in(model, torch.float64) == 2 * 21 * 8
    model[1].weight = model[0].weight
    assert size_in(model, torch.float64) == 21 * 8
    assert size_in(model, torch.bfloat16) == 21 * 2


def test_the_coarsest_format_of_a_models_weights_is_its_format():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).bfloat16())
    assert format_of(model) == torch.bfloat16
    assert format_of(nn.Module()) == torch.float32
