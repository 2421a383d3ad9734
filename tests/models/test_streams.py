"""The change of the stream that a way predicts is the change that a plain hook script sees."""

import pytest
import torch

from backlight.capture.record import record_activations
from backlight.models.modules import subject_from_module
from backlight.models.sites import kind_of
from backlight.models.streams import Way, stream_of
from zoo.models import CONFIGS
from zoo.subjects import batch_of, subject_of
from zoo.tokenizers import WordTokenizer

_KINDS = ("attn.z", "attn.out", "mlp.out", "attn.contribution", "mlp.contribution")


def _change_seen(subject, batch, way, change):
    """Add a change at a site, with the scale of its post-norm held, and see what the stream does.

    Args:
        subject: The model.
        batch: What it reads.
        way: The site and its stream.
        change: What is added to the site's tensor.

    Returns:
        The difference at the stream.
    """
    site, stream = way.site, way.stream
    before = _run(subject, batch, stream, {})
    hooks = {site.tap.module: ("pre" if site.tap.side == "input" else "out", _adding(site, change))}
    if way.norm is not None:
        kept = record_activations(subject, batch, [way.norm.entry, way.norm.out]).activations
        ratio = kept[way.norm.out.name] / kept[way.norm.entry.name]  # an RMS norm, its scale held
        hooks[way.norm.out.tap.module] = ("norm", ratio)
    return _run(subject, batch, stream, hooks) - before


def _adding(site, change):
    def add(tensor):
        return tensor + (change / site.tap.multiplier).reshape(tensor.shape)

    return add


def _run(subject, batch, stream, hooks):
    handles = []
    for path, (kind, act) in hooks.items():
        module = subject.model.get_submodule(path)
        if kind == "pre":
            hook = lambda module, inputs, act=act: (act(inputs[0]), *inputs[1:])  # noqa: E731
            handles.append(module.register_forward_pre_hook(hook))
        elif kind == "norm":
            hook = lambda module, inputs, output, act=act: inputs[0] * act  # noqa: E731
            handles.append(module.register_forward_hook(hook))
        else:

            def hook(module, inputs, output, act=act):
                if isinstance(output, tuple):
                    return (act(output[0]), *output[1:])
                return act(output)

            handles.append(module.register_forward_hook(hook))
    try:
        return record_activations(subject, batch, [stream]).activations[stream.name]
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", _KINDS)
def test_the_change_of_the_stream_is_what_the_way_says(name, kind):
    subject, batch = subject_of(name, torch.float64), batch_of()
    site = subject.sites[f"layers.1.{kind}"]
    way = stream_of(subject, site)
    assert isinstance(way, Way)
    x = record_activations(subject, batch, [site]).activations[site.name]
    change = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)

    expected = way.through(change)
    if way.norm is not None:
        entry = record_activations(subject, batch, [way.norm.entry]).activations
        norms = torch.linalg.vector_norm(entry[way.norm.entry.name], dim=-1)
        expected = expected * way.scale(norms)[..., None]

    found = _change_seen(subject, batch, way, change)
    valid = batch.valid
    exact = 1e-9 if way.norm is None else 3e-6  # these norms compute in float32 by themselves
    torch.testing.assert_close(found[valid], expected[valid], rtol=exact, atol=exact)


def test_the_sandwich_norms_and_multipliers_of_the_zoo_are_met():
    ways = {
        name: stream_of(subject, subject.sites["layers.1.mlp.out"])
        for name in ("gemma2", "gemma3", "olmo2", "granite", "llama")
        for subject in [subject_of(name)]
    }

    assert [ways[name].norm is not None for name in ways] == [True, True, True, False, False]
    assert ways["granite"].multiplier != 1.0


@pytest.mark.parametrize("kind", ["resid.pre", "resid.mid", "resid.post"])
def test_the_stream_is_its_own_stream(kind):
    subject = subject_of("llama")
    way = stream_of(subject, subject.sites[f"layers.1.{kind}"])

    assert way.stream is way.site
    x = torch.randn(3, 32)
    assert way.through(x) is x


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "opt post-norm"])
def test_the_sum_is_read_behind_the_addition(name):
    subject = subject_of(name)
    streams = [
        kind_of(stream_of(subject, subject.sites[f"layers.1.{half}.out"]).stream.name)
        for half in ("attn", "mlp")
    ]

    assert (
        streams
        == {
            "llama": ["resid.mid", "resid.post"],
            "gpt_neox": ["resid.post", "resid.post"],
            "opt post-norm": ["norm1.in", "norm2.in"],
        }[name]
    )


@pytest.mark.parametrize("site", ["layers.0.attn.q", "layers.0.norm1.out", "layers.0.mlp.in"])
def test_a_site_that_is_no_term_of_the_stream_has_a_reason_in_its_place(site):
    subject = subject_of("llama")

    assert stream_of(subject, subject.sites[site]) == f"{site} is not a term of the residual stream"


def test_a_model_of_unknown_wiring_has_a_reason_in_its_place():
    model = torch.nn.Sequential(torch.nn.Embedding(99, 8), torch.nn.Linear(8, 99))
    subject = subject_from_module(model, WordTokenizer(), name="plain")

    reason = stream_of(subject, subject.sites["0"])

    assert reason == "it is not known how the blocks of plain are wired"


def test_a_projection_that_cannot_be_read_has_a_reason_in_its_place():
    subject = subject_of("llama")
    projection = subject.model.model.layers[1].self_attn.o_proj
    projection.weight.data = projection.weight.data.reshape(-1, 1)  # as packed weights are

    reason = stream_of(subject, subject.sites["layers.1.attn.z"])

    assert reason.startswith("the weights of model.layers.1.self_attn.o_proj (Linear) cannot be")
