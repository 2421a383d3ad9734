"""Paths through every residual addition of every family, against the branch run alone."""

from functools import reduce

import pytest
import torch
from torch import nn

from backlight.capture.record import record
from backlight.decompose.norm import split_rms_norm_gradient
from backlight.errors import UnsupportedSiteError
from backlight.models.modules import subject_from_module
from backlight.models.norms import norm_places
from backlight.models.taps import tapping
from backlight.surveys.flow.measure.halves import halves_of
from zoo.by_hand import Block, ByHand
from zoo.flow import distance, subject_of
from zoo.models import CONFIGS
from zoo.subjects import batch_of
from zoo.tokenizers import WordTokenizer


def taped(subject, halves, *more):
    sites = [site for half in halves for site in half.sites]
    sites += [subject.sites[name] for name in more]
    kept = {half.norm.entry.name for half in halves if half.norm}
    unique = list({site.name: site for site in sites}.values())
    return record(subject, batch_of(), unique, keep_activations=kept)


def streams(subject):
    names = [f"layers.{layer}.resid.pre" for layer in range(subject.num_layers)]
    names += [name for name in subject.sites if name.endswith("resid.mid")]
    return [*names, f"layers.{subject.num_layers - 1}.resid.post"]


def branch_alone(subject, half, direct):
    """Let autograd go back through one branch: a leaf where it reads, nothing around it."""
    kind = "mlp" if half.name == "mlp" else "attn"
    middle = half.name == "mlp" and subject.wiring != "parallel"
    start = subject.sites[f"layers.{half.layer}.resid.{'mid' if middle else 'pre'}"]
    ends = [subject.sites[f"layers.{half.layer}.{kind}.contribution"]]
    if half.name == "block":
        ends.append(subject.sites[f"layers.{half.layer}.mlp.contribution"])
    seen = {}

    def visit(site, tensor):
        if site.name == start.name:
            seen["leaf"] = tensor.detach().requires_grad_()
            return seen["leaf"].clone()
        seen[site.name] = tensor.clone() * site.tap.multiplier
        return tensor

    batch = batch_of()
    with torch.enable_grad(), tapping(subject, [start, *ends], visit):
        subject.forward(batch.input_ids)
    shape = seen["leaf"].shape
    parts = [
        torch.autograd.grad(
            seen[end.name], seen["leaf"], direct.reshape(seen[end.name].shape), retain_graph=True
        )[0]
        for end in ends
    ]
    return reduce(torch.add, parts).reshape(shape).reshape(direct.shape)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_transform_path_is_what_autograd_brings_back_through_the_branch_alone(name):
    subject = subject_of(name, torch.float64)
    halves = halves_of(subject, range(subject.num_layers))

    tape = taped(subject, halves)

    for half in halves:
        paths = half.paths(tape)
        expected = branch_alone(subject, half, paths.direct)
        assert distance(paths.transform, expected) <= 1e-6, (half.layer, half.name)


@pytest.mark.parametrize(
    "reads",
    [
        lambda block, x: (x, x),
        lambda block, x: (block.one(x), block.two(x)),
        lambda block, x: (block.one(x),) * 2,
    ],
    ids=["no norm", "a norm each", "a norm for both"],
)
def test_halves_side_by_side_are_those_of_the_branch_alone_whatever_norms_they_have(reads):
    class SideBySide(ByHand):
        class kind(Block):  # noqa: N801
            def forward(self, x):
                read, also = reads(self, x)
                return x + self.attention(read) + self.feed(also)

    torch.manual_seed(0)
    subject = subject_from_module(SideBySide().double(), WordTokenizer())
    halves = halves_of(subject, range(subject.num_layers))

    tape = taped(subject, halves)

    assert [half.name for half in halves] == ["block", "attention", "mlp"] * 2
    for half in halves:
        paths = half.paths(tape)
        expected = branch_alone(subject, half, paths.direct)
        assert distance(paths.transform, expected) <= 1e-6, (half.layer, half.name)


@pytest.mark.parametrize("name", CONFIGS)
def test_both_paths_add_up_to_the_gradient_at_the_input(name):
    subject = subject_of(name, torch.float64)
    halves = halves_of(subject, range(subject.num_layers))

    tape = taped(subject, halves, *streams(subject))

    for half in halves:
        middle = half.name == "mlp" and subject.wiring != "parallel"
        stream = f"layers.{half.layer}.resid.{'mid' if middle else 'pre'}"
        paths = half.paths(tape)
        if subject.wiring != "parallel" or half.name == "block":
            assert distance(paths.direct + paths.transform, tape.gradients[stream]) <= 1e-6


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "opt post-norm"])
def test_transform_paths_lead_from_the_last_layer_to_the_embedding(name):
    subject = subject_of(name, torch.float64)
    halves = halves_of(subject, range(subject.num_layers))
    last = f"layers.{subject.num_layers - 1}.resid.post"

    tape = taped(subject, halves, "embed.out", last)

    whole = tape.gradients[last].clone()
    for half in halves:
        if half.name != "block":  # the two that are apart add up to it
            whole += half.paths(tape).transform
    assert distance(whole, tape.gradients["embed.out"]) <= 1e-6


def test_the_last_step_of_a_transform_path_is_the_norms_parts():
    subject = subject_of("llama", torch.float64)
    places = {place.name: place for place in norm_places(subject, [1]) if place.layer == 1}
    halves = {half.name: half for half in halves_of(subject, [1])}
    sites = [site for place in places.values() for site in (place.entry, place.out)]
    sites += [half.behind for half in halves.values()]

    tape = record(subject, batch_of(), sites, keep_activations=True)

    for half, norm in (("attention", "norm1"), ("mlp", "norm2")):
        place = places[norm]
        parts = split_rms_norm_gradient(
            tape.activations[place.entry.name],
            tape.gradients[place.out.name],
            place.gain,
            eps=place.eps,
        )
        assert distance(parts.total, halves[half].paths(tape).transform) <= 1e-6


@pytest.mark.parametrize("name", ["phi", "gptj", "falcon one norm", "gpt_neox", "falcon two norms"])
def test_attention_and_mlp_of_a_parallel_block_add_up_to_the_block(name):
    subject = subject_of(name, torch.float64)
    halves = halves_of(subject, [1])

    tape = taped(subject, halves)

    block, attention, mlp = (half.paths(tape) for half in halves)
    assert [half.name for half in halves] == ["block", "attention", "mlp"]
    assert distance(attention.transform + mlp.transform, block.transform) <= 1e-6
    assert torch.equal(attention.direct, block.direct)


def test_a_model_whose_wiring_is_not_known_has_no_residual_view():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5))
    plain = subject_from_module(model, WordTokenizer(), name="plain")

    with pytest.raises(UnsupportedSiteError, match="paths of plain cannot be told apart: not fo"):
        halves_of(plain, [0])
