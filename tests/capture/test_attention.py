"""What attends is kept, also among other taps, and strange masks are refused."""

import pytest
import torch

from backlight.capture.attention import keeping_attention
from backlight.capture.record import record
from backlight.errors import UnsupportedSiteError
from backlight.models.taps import per_token
from zoo.flow import TAPPABLE, subject_of
from zoo.subjects import batch_of


@pytest.mark.parametrize("name", TAPPABLE)
def test_what_attends_is_kept_while_the_same_sites_are_recorded(name):
    subject, batch = subject_of(name, attn_implementation="eager"), batch_of()
    sites = [subject.sites[f"layers.1.attn.{kind}"] for kind in ("q", "k", "v", "z")]

    with keeping_attention(subject, [1]) as calls:
        tape = record(subject, batch, sites, keep_activations=True)

    assert list(calls) == [1]
    kept = {"q": calls[1].query, "k": calls[1].key, "v": calls[1].value}
    for kind, tensor in kept.items():
        site = subject.sites[f"layers.1.attn.{kind}"]
        found = per_token(site, tensor, batch.input_ids.shape)
        assert torch.equal(found, tape.activations[site.name])
        assert not tensor.requires_grad
    assert calls[1].mask is None


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_recording_gives_the_same_with_and_without_it(kernel):
    subject, batch = subject_of("mistral", attn_implementation=kernel), batch_of()
    sites = [subject.sites[f"layers.{layer}.attn.q"] for layer in range(3)]
    before = subject.model.config._attn_implementation

    alone = record(subject, batch, sites)
    with keeping_attention(subject, [0, 2]) as calls:
        among = record(subject, batch, sites)

    assert sorted(calls) == [0, 2]
    for site in sites:
        assert torch.equal(alone.gradients[site.name], among.gradients[site.name])
    assert subject.model.config._attn_implementation == before == kernel


def test_one_may_stand_inside_another():
    subject, batch = subject_of("llama"), batch_of()

    with keeping_attention(subject, [0]) as outer, keeping_attention(subject, [0, 1]) as inner:
        subject.forward(batch.input_ids)

    assert (sorted(outer), sorted(inner)) == ([0], [0, 1])
    assert torch.equal(outer[0].query, inner[0].query)


def test_windows_caps_and_sinks_are_kept_as_settings():
    calls = {}
    for name in ("mistral", "gemma2", "gpt_oss"):
        with keeping_attention(subject_of(name), [0, 1]) as calls[name]:
            subject_of(name).forward(batch_of().input_ids)

    assert calls["mistral"][0].window == 4
    assert calls["gemma2"][0].cap == 50.0
    assert [calls["gpt_oss"][layer].window for layer in (0, 1)] == [4, None]
    assert calls["gpt_oss"][0].sinks.shape == (4,)


@pytest.mark.parametrize("name", ["llama", "gpt_oss"])
def test_a_mask_that_hides_more_than_the_future_is_refused_with_its_layer(name):
    subject, batch = subject_of(name), batch_of()
    seen = torch.ones_like(batch.input_ids)
    seen[:, 0] = 0  # as a pad on the left would be

    with (
        pytest.raises(UnsupportedSiteError, match=r"layer 1 \(\w+Attention\) has a mask that is"),
        keeping_attention(subject, [1]),
    ):
        subject.model(input_ids=batch.input_ids, attention_mask=seen, use_cache=False)


def test_a_window_that_only_the_mask_knows_is_refused():
    subject, batch = subject_of("mistral"), batch_of()
    places = torch.arange(batch.input_ids.shape[1])
    distance = places[:, None] - places
    mask = ((distance >= 0) & (distance < 3))[None, None]

    with (
        pytest.raises(UnsupportedSiteError, match=r"layer 2 .* a window of 4 tokens"),
        keeping_attention(subject, [2]),
    ):
        subject.model(input_ids=batch.input_ids, attention_mask=mask, use_cache=False)


@pytest.mark.parametrize(
    ("name", "module"), [("bloom", "BloomAttention at transformer.h.1"), ("gptj", "GPTJAttention")]
)
def test_attention_beside_the_interface_is_named(name, module):
    with (
        pytest.raises(UnsupportedSiteError, match=f"layer 1 of {name} cannot be seen: {module}"),
        keeping_attention(subject_of(name), [1]),
    ):
        pass


def test_the_taps_are_gone_if_the_body_fails():
    subject = subject_of("llama")

    with pytest.raises(RuntimeError, match="in the middle"), keeping_attention(subject, [0]):
        raise RuntimeError("in the middle")

    assert subject.model.config._attn_implementation == "sdpa"
