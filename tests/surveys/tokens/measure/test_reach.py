"""What causality says of a gradient, against the exact zeros that autograd finds."""

import numpy as np
import pytest
import torch
from torch import nn

from backlight.capture.record import record
from backlight.data.batches import Batch, Passages
from backlight.models.loading import subject_from_transformers
from backlight.models.modules import subject_from_module
from backlight.objectives.objective import LossGradient
from backlight.surveys.tokens.measure.reach import follows, later_attentions, reaches
from zoo.models import CONFIGS, tiny_model
from zoo.subjects import subject_of, tappable
from zoo.tokenizers import WordTokenizer

READS = [[5], [2, 5], [0], [6], [0, 1]]
LENGTH = 7
# No window of attention cuts anything off.
WIDE = {name: {"sliding_window": 64} for name in ("mistral", "gemma2", "gemma3", "gpt_oss")}
WIDE |= {"gpt_neo": {"window_size": 64}}


QUICK = {
    *("llama", "mixtral", "qwen3", "gemma2", "gpt2", "gpt_neo", "gpt_neox", "phi with qk norm"),
    *("opt", "opt post-norm", "bloom", "falcon two norms", "olmo2", "cohere", "granite", "gpt_oss"),
}
FAMILIES = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in CONFIGS]
KEYS_AND_QUERIES = ("attn.q", "attn.q_norm", "attn.k", "attn.k_norm")


def reads():
    return [np.array(places) for places in READS]


def a_batch():
    random = np.random.default_rng(0)
    return Batch.of(
        Passages(tokens=[random.integers(3, 99, LENGTH) for _ in READS]), range(len(READS))
    )


def at_reads(output, batch, head):
    """A random linear function of the outputs that are read."""
    gradient = torch.zeros_like(output)
    for row, places in enumerate(READS):
        gradient[row, places] = torch.randn(len(places), output.shape[-1], dtype=output.dtype)
    zeros = torch.zeros(len(READS), dtype=torch.float64)
    return LossGradient(nats=zeros, value=zeros, gradient=gradient)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_are_zero_exactly_where_nothing_reaches_the_objective(name):
    subject = subject_of(name, torch.float64, **WIDE.get(name, {}))
    assert subject.wiring is not None
    sites = tappable(subject)

    gradients = record(subject, a_batch(), sites, objective=at_reads).gradients

    for site in sites:
        norms = gradients[site.name].norm(dim=-1).numpy()
        expected = reaches(subject, site, reads(), LENGTH)
        # A fused kernel rounds the gradient of a softmax over one number.
        tiny = 1e-14 if site.name.endswith(KEYS_AND_QUERIES) else 0.0
        np.testing.assert_array_equal(norms > tiny, expected, err_msg=site.name)
        by_order = follows(subject, site, reads(), LENGTH)
        assert (norms[~by_order] == 0.0).all(), site.name
        rest = by_order & ~expected
        assert not rest.any() or site.name.endswith(KEYS_AND_QUERIES)


@pytest.mark.parametrize("name", ["gemma2", "gpt_neo"])
def test_nothing_is_called_unreachable_that_a_window_does_not_cut_off(name):
    model = tiny_model(name, torch.float64)
    subject = subject_from_transformers(model, WordTokenizer(), name=name)
    sites = tappable(subject)

    gradients = record(subject, a_batch(), sites, objective=at_reads).gradients

    for site in sites:
        found = (gradients[site.name] != 0).any(dim=-1).numpy()
        assert not (found & ~follows(subject, site, reads(), LENGTH)).any(), site.name


def test_the_last_layers_output_matters_only_where_it_is_read():
    subject = subject_of("qwen2")

    last = reaches(subject, subject.sites["layers.2.resid.post"], [np.array([2, 4])], 6)
    other = reaches(subject, subject.sites["layers.1.resid.post"], [np.array([2, 4])], 6)

    assert last.tolist() == [[False, False, True, False, True, False]]
    assert other.tolist() == [[True, True, True, True, True, False]]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("llama", "resid.pre", [3, 2, 1]),
        ("llama", "attn.k", [3, 2, 1]),
        ("llama", "attn.q", [2, 1, 0]),
        ("llama", "resid.mid", [2, 1, 0]),
        ("llama", "mlp.out", [2, 1, 0]),
        ("llama", "norm1.out", [3, 2, 1]),
        ("opt post-norm", "norm1.in", [2, 1, 0]),
        ("phi", "norm1.out", [3, 2, 1]),
    ],
)
def test_attentions_that_are_still_to_come_are_counted(name, kind, expected):
    subject = subject_of(name)

    found = [
        later_attentions(subject.sites[f"layers.{layer}.{kind}"], 3, subject.wiring)
        for layer in range(3)
    ]

    assert found == expected


def test_of_a_module_without_known_wiring_only_the_order_of_tokens_is_known():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9))
    subject = subject_from_module(model, WordTokenizer())
    site = subject.sites["0"]

    assert later_attentions(site, 0, None) is None
    found = reaches(subject, site, [np.array([1, 2])], 4)
    assert found.tolist() == [[True, True, True, False]]
