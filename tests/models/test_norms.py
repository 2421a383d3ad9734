"""Norms of every family: their parts add up to what autograd leaves at their input."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from backlight.capture.record import record
from backlight.decompose.norm import split_layer_norm_gradient, split_rms_norm_gradient
from backlight.errors import UnsupportedSiteError
from backlight.models.loading import subject_from_transformers
from backlight.models.modules import subject_from_module
from backlight.models.norms import norm_places
from backlight.models.wiring import families
from backlight.models.wiring.families import FAMILIES, find_family
from zoo.flow import distance, subject_of
from zoo.models import CONFIGS, tiny_model
from zoo.subjects import batch_of
from zoo.tokenizers import WordTokenizer


def taped(subject, places):
    sites = [site for place in places for site in (place.entry, place.out)]
    return record(subject, batch_of(), sites, keep_activations=True)


def through(place, tape):
    split = split_layer_norm_gradient if place.is_centred else split_rms_norm_gradient
    x, grad = tape.activations[place.entry.name], tape.gradients[place.out.name]
    return split(place.split(x), place.split(grad), place.gain, eps=place.eps).total.flatten(2)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_parts_add_up_to_autograds_gradient_at_the_norms_input(name):
    subject = subject_of(name, torch.float64)
    places = norm_places(subject, range(subject.num_layers))

    tape = taped(subject, places)

    assert len(places) >= subject.num_layers
    for place in places:
        assert distance(through(place, tape), tape.gradients[place.entry.name]) <= 1e-6, place.name


@pytest.mark.parametrize(
    "name", ["llama", "gpt2", "gemma2", "qwen3", "cohere", "stablelm parallel"]
)
def test_without_the_gain_they_do_not(name):
    subject = subject_of(name, torch.float64)
    places = norm_places(subject, range(subject.num_layers))

    tape = taped(subject, places)

    for place in places:
        without = through(replace(place, gain=None), tape)
        assert distance(without, tape.gradients[place.entry.name]) > 0.01, place.name


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "olmo", "cohere"])
def test_in_half_precision_they_add_up_but_for_its_rounding(name):
    subject = subject_of(name, torch.bfloat16)
    places = norm_places(subject, range(subject.num_layers))

    tape = taped(subject, places)

    for place in places:
        assert distance(through(place, tape), tape.gradients[place.entry.name]) <= 0.02, place.name


@pytest.mark.parametrize("name", CONFIGS)
def test_the_formula_gives_the_modules_output(name):
    subject = subject_of(name, torch.float64)
    places = norm_places(subject, range(subject.num_layers))

    tape = taped(subject, places)

    for place in places:
        expected = tape.activations[place.out.name]
        assert distance(place.apply(tape.activations[place.entry.name]), expected) <= 1e-5


@pytest.mark.parametrize("name", CONFIGS)
def test_every_norm_module_inside_a_block_is_found(name):
    """Counted by their class's name, which the code does not look at."""
    subject = subject_of(name, torch.float64)
    family = find_family(subject.model.config)
    block = subject.model.get_submodule(family.blocks)[1]
    expected = {
        f"{family.blocks}.1.{path}"
        for path, module in block.named_modules()
        if "Norm" in type(module).__name__ and ".norms." not in path
    }

    places = norm_places(subject, [1])

    assert {place.out.tap.module for place in places if place.layer == 1} == expected
    assert [place.name for place in places if place.layer is None] == (
        ["final_norm"] if family.final_norm else []
    )


@pytest.mark.parametrize(
    ("name", "heads", "width"),
    [("qwen3", (4, 2), 16), ("cohere", (4, 2), 8), ("stablelm parallel", (4, 2), 8)],
)
def test_queries_and_keys_are_normalised_head_by_head(name, heads, width):
    found = {place.name: place for place in norm_places(subject_of(name), [0])}

    assert (found["attn.q_norm"].num_heads, found["attn.k_norm"].num_heads) == heads
    assert found["attn.q_norm"].width == width
    assert found["norm1"].num_heads is None


def test_olmo2_normalises_all_heads_at_once():
    found = {place.name: place for place in norm_places(subject_of("olmo2"), [0])}

    assert found["attn.q_norm"].num_heads is None
    assert found["attn.q_norm"].width == 32


def test_a_norm_of_a_class_that_cannot_be_read_is_refused_by_its_name():
    class Mystery(nn.Module):
        def forward(self, x):
            return x

    subject = subject_of("llama")
    subject = replace(subject, model=tiny_model("llama"))
    subject.model.get_submodule("model.layers.1").input_layernorm = Mystery()

    with pytest.raises(UnsupportedSiteError, match=r"layers\.1\.norm1\.out is a Mystery, which"):
        norm_places(subject, [0, 1, 2])


def test_a_model_that_is_not_in_the_table_has_no_known_norms():
    model = nn.Sequential(nn.Embedding(5, 3), nn.LayerNorm(3))
    plain = subject_from_module(model, WordTokenizer(), name="p")

    with pytest.raises(UnsupportedSiteError, match="norms of p cannot be looked at: Sequential"):
        norm_places(plain, [])


def test_all_families_say_what_their_norms_are():
    assert {family.norm_kind for family in FAMILIES} == {"rms", "rms_unit_offset", "layer"}


@pytest.mark.parametrize(
    "name", ["llama", "gemma2", "gpt_neox", "opt post-norm", "olmo2", "falcon two norms"]
)
def test_without_the_table_the_norms_of_the_stream_are_the_same(name, monkeypatch):
    """Fitted to what they give, down to what they add under the root."""
    model = tiny_model(name, torch.float64)
    table = norm_places(subject_from_transformers(model, WordTokenizer()), range(3))
    monkeypatch.setattr(families, "FAMILIES", ())
    subject = subject_from_transformers(model, WordTokenizer())
    found = {place.out.name: place for place in norm_places(subject, range(3))}
    expected = [place for place in table if not place.name.startswith("attn.")]
    assert found.keys() == {place.out.name for place in expected}
    for place in expected:
        ours = found[place.out.name]
        assert (ours.is_centred, ours.eps) == (place.is_centred, place.eps)
        assert (ours.layer, ours.name) == (place.layer, place.name)
        assert torch.equal(ours.gain, place.gain)
        assert ours.bias is place.bias is None or torch.equal(ours.bias, place.bias)
