"""What is recorded behind a replaced tensor, against autograd on a model with plain hooks."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import CONFIG_MAPPING

from backlight.capture.record import record, record_activations
from backlight.capture.splice import splicing
from backlight.errors import NonFiniteError, UnsupportedSiteError
from backlight.models.wiring.families import find_family
from zoo.models import CONFIGS
from zoo.oracles import relative_error
from zoo.subjects import batch_of, subject_of


def another(subject, batch, site):
    """Make something to put at a site, far from what passes there."""
    clean = record_activations(subject, batch, [site]).activations[site.name]
    return clean.flip(0) + 0.3 * torch.randn_like(clean)


def as_in_model(site, values, tensor):
    values = values / site.tap.multiplier
    if site.tap.axes == (0, 2):
        batch, heads, positions, width = tensor.shape
        return values.reshape(batch, positions, heads, width).transpose(1, 2)
    return values.reshape(tensor.shape)


def put_there(subject, site, leaf):
    """Put a leaf in a tensor's place by one plain hook."""
    module = subject.model.get_submodule(site.tap.module)

    def after(module, inputs, output):
        if isinstance(output, tuple):
            return (as_in_model(site, leaf, output[0]), *output[1:])
        return as_in_model(site, leaf, output)

    def ahead(module, args, kwargs):
        if args:
            return (as_in_model(site, leaf, args[0]), *args[1:]), kwargs
        tensor = kwargs["hidden_states"]
        return args, {**kwargs, "hidden_states": as_in_model(site, leaf, tensor)}

    if site.tap.side == "output":
        return module.register_forward_hook(after)
    return module.register_forward_pre_hook(ahead, with_kwargs=True)


def plain_loss(subject, batch):
    """Sum the mean losses of the sequences, from the model's own logits."""
    logits = subject.model(input_ids=batch.input_ids, use_cache=False).logits
    return sum(
        cross_entropy(row[: length - 1], tokens[1:length])
        for row, tokens, length in zip(logits, batch.input_ids, batch.lengths.tolist(), strict=True)
    )


_PLACES = [
    *(("llama", kind) for kind in ("resid.pre", "norm1.out", "attn.z", "attn.out", "mlp.in")),
    *(("llama", kind) for kind in ("norm2.in", "mlp.out", "resid.post")),
    *(("granite", kind) for kind in ("attn.contribution", "mlp.contribution", "mlp.out")),
    *(("gpt2", kind) for kind in ("attn.in", "attn.z", "mlp.out")),
    *(("mixtral", kind) for kind in ("mlp.in", "mlp.out")),
    *(("bloom", kind) for kind in ("attn.out", "mlp.out")),
    *(("opt", kind) for kind in ("mlp.in", "mlp.out")),
    ("opt post-norm", "resid.mid"),
    ("gemma2", "mlp.contribution"),
    ("falcon two norms", "mlp.in"),
    # Heads before positions.
    ("gemma3", "attn.q_norm"),
    ("phi with qk norm", "attn.k_norm"),
]


@pytest.mark.parametrize(("name", "kind"), _PLACES, ids=lambda value: value)
def test_a_gradient_behind_a_replacement_is_autograds_with_a_leaf_in_its_place(name, kind):
    subject, batch = subject_of(name, torch.float64), batch_of()
    site, later = subject.sites[f"layers.1.{kind}"], subject.sites["layers.2.mlp.out"]
    values = another(subject, batch, site)

    with splicing(subject, {site.name: values}):
        tape = record(subject, batch, [site, later], keep_activations=True)

    leaf = values.clone().requires_grad_()
    handle = put_there(subject, site, leaf)
    (expected,) = torch.autograd.grad(plain_loss(subject, batch), leaf)
    behind = record_activations(subject, batch, [later])
    handle.remove()
    assert relative_error(tape.gradients[site.name], expected) <= 1e-6
    assert relative_error(tape.activations[site.name], values) <= 1e-12
    assert relative_error(tape.activations[later.name], behind.activations[later.name]) <= 1e-6


_SEQUENTIAL = [
    name
    for name, (kind, options) in CONFIGS.items()
    if find_family(CONFIG_MAPPING[kind](**options)).wiring == "sequential"
]


@pytest.mark.parametrize("name", _SEQUENTIAL)
def test_a_residual_stream_replaced_inside_a_block_is_replaced_for_the_way_around_too(name):
    subject, batch = subject_of(name, torch.float64), batch_of()
    middle, after, added = (
        subject.sites[f"layers.1.{kind}"]
        for kind in ("resid.mid", "resid.post", "mlp.contribution")
    )
    values = another(subject, batch, middle)

    with splicing(subject, {middle.name: values}):
        tape = record(subject, batch, [middle, after, added], keep_activations=True)

    seen = tape.activations
    assert relative_error(seen[middle.name], values) <= 1e-12
    assert relative_error(seen[after.name] - seen[added.name], values) <= 1e-6


@pytest.mark.parametrize("name", ["llama", "granite", "olmo2", "bloom"])
def test_the_gradient_of_a_stream_replaced_inside_a_block_is_the_total_one(name):
    """The same stream comes about if attention adds what is missing."""
    subject, batch = subject_of(name, torch.float64), batch_of()
    before, middle, added = (
        subject.sites[f"layers.1.{kind}"]
        for kind in ("resid.pre", "resid.mid", "attn.contribution")
    )
    values = another(subject, batch, middle)

    with splicing(subject, {middle.name: values}):
        tape = record(subject, batch, [middle])

    stream = record_activations(subject, batch, [before]).activations[before.name]
    leaf = values.clone().requires_grad_()
    handle = put_there(subject, added, leaf - stream)
    (expected,) = torch.autograd.grad(plain_loss(subject, batch), leaf)
    handle.remove()
    assert relative_error(tape.gradients[middle.name], expected) <= 1e-6


def test_several_tensors_can_be_replaced_at_once():
    subject, batch = subject_of("llama", torch.float64), batch_of()
    sites = [subject.sites[name] for name in ("layers.0.mlp.out", "layers.1.attn.z")]
    values = {site.name: another(subject, batch, site) for site in sites}

    with splicing(subject, values):
        tape = record(subject, batch, sites[1:])

    leaves = [values[site.name].clone().requires_grad_() for site in sites]
    handles = [put_there(subject, site, leaf) for site, leaf in zip(sites, leaves, strict=True)]
    expected = torch.autograd.grad(plain_loss(subject, batch), leaves[1])[0]
    for handle in handles:
        handle.remove()
    assert relative_error(tape.gradients["layers.1.attn.z"], expected) <= 1e-6


def test_replacing_a_tensor_by_itself_changes_no_gradient():
    subject, batch = subject_of("gpt2", torch.float64), batch_of()
    sites = [subject.sites[f"layers.{layer}.mlp.out"] for layer in (1, 2)]
    plain = record(subject, batch, sites, keep_activations=True)

    with splicing(subject, {sites[0].name: plain.activations[sites[0].name]}):
        spliced = record(subject, batch, sites)

    for site in sites:
        torch.testing.assert_close(spliced.gradients[site.name], plain.gradients[site.name])
    torch.testing.assert_close(spliced.nats, plain.nats)


@pytest.mark.parametrize("kind", ["mlp.out", "resid.mid", "resid.pre"])
def test_what_is_put_there_is_left_alone_and_given_in_the_models_number_format(kind):
    subject, batch = subject_of("llama", torch.float32), batch_of()
    site = subject.sites[f"layers.1.{kind}"]
    values = another(subject, batch, site).double()
    before = values.clone()

    with splicing(subject, {site.name: values}):
        tape = record(subject, batch, [site], keep_activations=True)

    assert torch.equal(values, before)
    assert tape.activations[site.name].dtype == torch.float32
    assert torch.equal(tape.activations[site.name], values.float())


def test_a_replacement_that_is_no_number_is_found_by_its_site_and_passage():
    subject, batch = subject_of("llama"), batch_of()
    site = subject.sites["layers.1.mlp.out"]
    values = another(subject, batch, site)
    values[2, 0] = torch.nan

    with (
        splicing(subject, {site.name: values}),
        pytest.raises(NonFiniteError, match=r"passage 2 is nan: .* is layers\.1\.mlp\.out\."),
    ):
        record(subject, batch, [site])


def test_hooks_are_gone_even_if_the_body_fails():
    subject, batch = subject_of("llama", torch.float64), batch_of()
    sites = [subject.sites[f"layers.1.{kind}"] for kind in ("resid.mid", "attn.z", "mlp.out")]
    values = {site.name: another(subject, batch, site) for site in sites}

    with pytest.raises(RuntimeError, match="in the middle"), splicing(subject, values):
        raise RuntimeError("in the middle")

    for module in subject.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


@pytest.mark.parametrize("kind", ["attn.q", "attn.k", "attn.v"])
def test_queries_keys_and_values_are_refused(kind):
    subject = subject_of("llama", torch.float64)
    name = f"layers.1.{kind}"

    with (
        pytest.raises(
            UnsupportedSiteError,
            match=rf"{name} cannot be replaced, only looked at; use --splice error",
        ),
        splicing(subject, {name: torch.zeros(1, 1, 32)}),
    ):
        pass
