"""Modules written by hand get canonical sites by arithmetic, or a sentence that says why not."""

import pytest
import torch
from torch.nn import functional

import backlight
from backlight.capture.record import record
from backlight.errors import UnknownSiteError, UnsupportedSiteError
from backlight.models.blocks.rerun import Blocks
from backlight.models.modules import subject_from_module
from backlight.models.sites import resolve_sites
from zoo.by_hand import (
    AttentionAlone,
    AttentionInPlace,
    ByHand,
    Chained,
    Counting,
    Looped,
    MixedInOne,
    Permuted,
    PermutedWithin,
    Remembering,
    Short,
    Summed,
    Turned,
)
from zoo.odd import Plain
from zoo.subjects import batch_of
from zoo.tokenizers import WordTokenizer


def wired(kind, dtype=torch.float64):
    torch.manual_seed(0)
    return subject_from_module(kind().to(dtype), WordTokenizer(), name=kind.__name__)


@pytest.mark.parametrize("kind", [ByHand, Turned, Short])
def test_a_module_written_by_hand_has_canonical_sites_and_its_paths(kind):
    subject = wired(kind)
    kinds = {name.split(".", 2)[2] for name in subject.sites if name.startswith("layers.1.")}
    assert kinds == {
        *("resid.pre", "resid.mid", "resid.post", "attn.in", "attn.out", "attn.contribution"),
        *("mlp.in", "mlp.out", "mlp.contribution", "norm1.in", "norm1.out", "norm2.in"),
        "norm2.out",
    }
    assert {"blocks.0", "blocks.1.feed", "final_norm.out", "embed.out"} <= set(subject.sites)
    assert not any(site.problem for site in subject.sites.values() if site.name[:6] == "layers")
    assert (subject.num_layers, subject.wiring) == (2, "sequential")
    assert subject.sites["layers.0.mlp.contribution"].tap.multiplier == 0.5


@pytest.mark.parametrize("kind", [ByHand, Turned])
def test_their_gradients_are_those_of_plain_autograd(kind):
    subject, batch = wired(kind), batch_of((0,))
    model, stream = subject.model, {}
    names = [f"layers.1.{each}" for each in ("attn.out", "resid.mid", "mlp.contribution")]
    found = record(subject, batch, [subject.sites[name] for name in names])

    x = model.words(batch.input_ids) + model.places(torch.arange(batch.input_ids.shape[1]))
    for number, block in enumerate(model.blocks):
        # The blocks of ``Turned`` hold the same modules.
        stream[number, "attn.out"] = block.attention(block.one(x))
        stream[number, "resid.mid"] = x + stream[number, "attn.out"]
        stream[number, "mlp.contribution"] = 0.5 * block.feed(
            block.two(stream[number, "resid.mid"])
        )
        x = stream[number, "resid.mid"] + stream[number, "mlp.contribution"]
    logits = model.out(model.norm(x))
    loss = functional.cross_entropy(logits[0, :-1], batch.input_ids[0, 1:])
    for name in names:
        (gradient,) = torch.autograd.grad(loss, stream[1, name[9:]], retain_graph=True)
        scale = gradient.abs().max()
        assert (found.gradients[name] - gradient).abs().max() <= 1e-9 * scale, name


def test_a_path_means_the_module_as_ever():
    found = resolve_sites("blocks.*.feed", wired(ByHand).sites)
    assert [site.name for site in found] == ["blocks.0.feed", "blocks.1.feed"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Looped, r"blocks\.0 \(Block\) is used 3 times in one forward pass"),
        (Permuted, r"what blocks\.0 gives is not what blocks\.1 is given"),
        (PermutedWithin, r"blocks\.0: no outputs of its modules add up to what becomes of the str"),
        (Plain, r"what blocks\.0 gives is not what blocks\.1 is given"),
        (Counting, r"shape \[1, 13\] failed|shape \[2, 13\] failed: ValueError: at most 8 tokens"),
    ],
)
def test_a_module_whose_wiring_is_not_found_says_why_and_keeps_its_paths(kind, reason):
    subject = wired(kind)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(subject.facts["wiring"])
    assert not any(name.startswith("layers.") for name in subject.sites)
    assert "blocks.1" in subject.sites
    assert subject.wiring is None


def test_a_block_that_is_used_several_times_is_refused_by_its_name():
    with pytest.raises(UnsupportedSiteError, match="is used 3 times in one forward pass, so no"):
        backlight.layers(subject=wired(Looped), dataset=["a word " * 9], site="blocks.*")


@pytest.mark.parametrize("kind", [Summed, Chained, MixedInOne])
@pytest.mark.parametrize("site", ["attn.out", "attn.contribution", "mlp.out", "mlp.contribution"])
def test_attention_and_mlp_that_are_added_as_one_are_called_neither(kind, site):
    reason = r"layers\.0\.\S+ is not known: what blocks\.0 adds, .* from several modules, att"
    with pytest.raises(UnsupportedSiteError, match=reason):
        backlight.layers(subject=wired(kind), dataset=["a word " * 9], site=site)


@pytest.mark.parametrize("kind", [AttentionAlone, AttentionInPlace])
def test_what_attention_without_an_mlp_adds_is_its_output(kind):
    subject = wired(kind)

    assert subject.sites["layers.1.attn.out"].tap.module == "blocks.1.project"
    assert subject.sites["layers.1.attn.out"].problem is None
    assert "layers.1.mlp.out" not in subject.sites


def test_a_site_that_no_module_of_a_loop_can_have_is_refused_with_the_reason():
    subject = wired(Looped)
    options = {"subject": subject, "dataset": ["a word " * 9]}
    with pytest.raises(
        UnknownSiteError, match=r"'mlp\.out' among its \d+\. Sites of its blocks were not found: bl"
    ):
        backlight.layers(**options)
    with pytest.raises(
        UnsupportedSiteError, match=r"belongs to no layer\. No .* number in its path"
    ):
        backlight.layers(**options, site="words")


@pytest.mark.parametrize("kind", [ByHand, Turned])
def test_a_module_written_by_hand_can_be_run_from_each_block_on(kind):
    subject, batch = wired(kind), batch_of()
    site = subject.sites["layers.1.resid.pre"]
    stream = record(subject, batch, [site], keep_activations=True).activations[site.name]
    with torch.no_grad():
        expected = subject.forward(batch.input_ids)
        with Blocks.of(subject).entering(1, stream):
            found = subject.forward(batch.input_ids)
        with Blocks.of(subject).entering(1, stream.flip(-1)):
            other = subject.forward(batch.input_ids)
    torch.testing.assert_close(found, expected)
    assert (other - expected).abs().max() > 1e-3


def test_a_module_whose_blocks_read_earlier_ones_is_not_run_from_a_block_on():
    subject = wired(Remembering)
    assert "layers.0.mlp.out" in subject.sites
    assert subject.sites["layers.1.mlp.out"].problem is not None
    assert Blocks.found_in(subject) is None
    with pytest.raises(UnsupportedSiteError, match="Block 1 of Remembering needs more than what"):
        Blocks.of(subject)
