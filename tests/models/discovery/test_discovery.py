"""What arithmetic finds of models, against the table, autograd and wrong wirings."""

from dataclasses import replace

import pytest
import torch

from backlight.capture.record import record
from backlight.models.discovery.finding import discover, some_tokens
from backlight.models.discovery.naming import sites_of
from backlight.models.discovery.proving import prove
from backlight.models.discovery.sums import adds_up, fits
from backlight.models.discovery.wiring import Layer
from backlight.models.loading.loaded import logits_of
from backlight.models.subject import plain_subject
from zoo.every_type import tiny
from zoo.models import CONFIGS, VOCABULARY, tiny_model
from zoo.subjects import batch_of, subject_of
from zoo.tokenizers import WordTokenizer

UNKNOWN = (
    *("persimmon", "qwen3_next", "nemotron_h", "exaone4", "vaultgemma"),
    *("olmo3", "nanochat", "glm4", "biogpt", "jetmoe"),
)
NORMS = ("norm1", "norm1_post", "norm2", "norm2_post")


def found_of(model, name="tiny"):
    subject = plain_subject(model, WordTokenizer(), name=name, forward=logits_of(model))
    return subject, discover(subject, VOCABULARY).found


@pytest.mark.parametrize("name", CONFIGS)
def test_arithmetic_finds_the_tensors_that_the_table_names(name):
    table = subject_of(name, dtype=torch.float64)
    plain, found = found_of(table.model)
    sites = {site.name: site for site in sites_of(found)}
    shared = [each for each in sites if each in table.sites]
    core = {"resid.pre", "resid.post", "attn.out", "attn.contribution", "mlp.contribution"}
    kinds = {site.split(".", 2)[2] for site in shared if site.startswith("layers.")}
    assert core <= kinds
    assert kinds == {
        kind.split(".", 2)[2]
        for kind in table.sites
        if kind.startswith("layers.")
        and kind.split(".", 2)[2] not in ("attn.q", "attn.k", "attn.v", "attn.z")
        and not kind.endswith(("q_norm", "k_norm"))
    }
    ours = replace(plain, sites={**plain.sites, **sites})
    one = record(table, batch_of(), [table.sites[each] for each in shared], keep_activations=True)
    two = record(ours, batch_of(), [sites[each] for each in shared], keep_activations=True)
    for each in shared:
        assert torch.allclose(one.gradients[each], two.gradients[each], rtol=1e-6, atol=1e-9), each
        assert torch.allclose(one.activations[each], two.activations[each], atol=1e-9), each


@pytest.mark.parametrize("name", CONFIGS)
def test_arithmetic_names_the_wiring_as_the_table_does(name):
    _, found = found_of(tiny_model(name))
    assert {layer.wiring for layer in found.layers} == {subject_of(name).wiring}
    assert all(layer.is_closed for layer in found.layers)


def test_a_multiplier_comes_out_of_the_fit():
    _, found = found_of(tiny_model("granite"))
    terms = [term for layer in found.layers for a in layer.additions for term in a.terms]
    assert {term.multiplier for term in terms} == {0.22}
    assert (found.head.scale, found.head.cap) == (1 / 8, None)


@pytest.mark.parametrize(
    ("name", "is_centred", "is_unit_offset", "eps"),
    [("llama", False, False, 1e-6), ("gemma", False, True, 1e-6), ("gpt2", True, False, 1e-5)],
)
def test_the_formula_of_a_norm_is_fitted(name, is_centred, is_unit_offset, eps):
    _, found = found_of(tiny_model(name))
    norms = [
        found.final_norm,
        *(a.terms[0].norm for layer in found.layers for a in layer.additions),
    ]
    assert {(n.is_centred, n.is_unit_offset, n.eps) for n in norms} == {
        (is_centred, is_unit_offset, eps)
    }


def test_a_soft_cap_comes_out_of_the_fit():
    _, found = found_of(tiny("vaultgemma"))
    assert (found.head.scale, found.head.cap) == (1.0, 30.0)


@pytest.mark.parametrize("name", UNKNOWN)
def test_gradients_of_types_outside_the_table_are_those_of_autograd(name):
    model = tiny(name, torch.float64)
    subject, found = found_of(model, name)
    sites = [site for site in sites_of(found) if site.tap.side != "branch"]
    assert all(isinstance(layer, Layer) for layer in found.layers)
    assert all(site.problem is None for site in sites)
    subject = replace(subject, sites={**subject.sites, **{site.name: site for site in sites}})
    batch = batch_of((0,))
    tape = record(subject, batch, sites)
    expected = by_autograd(model, batch.input_ids, sites)
    for site in sites:
        error = (tape.gradients[site.name][0] - expected[site.name]).abs().max()
        assert error <= 1e-6 * expected[site.name].abs().max(), site.name


def by_autograd(model, input_ids, sites):
    """Gradients of the model's own loss, from hooks that keep the tensors that pass."""
    kept, handles = {}, []
    for site in sites:
        module = model.get_submodule(site.tap.module)

        def before(module, args, kwargs, name=site.name):
            kept[name] = args[0] if args else kwargs["hidden_states"]

        def after(module, args, output, name=site.name):
            kept[name] = output[0] if isinstance(output, tuple) else output

        if site.tap.side == "input":
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        else:
            handles.append(module.register_forward_hook(after))
    loss = model(input_ids=input_ids, labels=input_ids, use_cache=False).loss
    for handle in handles:
        handle.remove()
    gradients = torch.autograd.grad(loss, [kept[site.name] for site in sites])
    return {
        site.name: gradient.reshape(-1, site.width) / site.tap.multiplier
        for site, gradient in zip(sites, gradients, strict=True)
    }


def test_what_mixes_tokens_is_told_for_each_layer_of_a_hybrid():
    _, found = found_of(tiny("nemotron_h"))
    kinds = [layer.additions[0].terms[0].mixes for layer in found.layers]
    assert kinds == ["recurrence", "none", "attention", "none"]
    names = [site.name for site in sites_of(found)]
    assert "layers.0.mixer.out" in names
    assert "layers.1.mlp.out" in names
    assert {"layers.2.attn.out", "layers.2.mixer.out"} <= set(names)
    assert "layers.0.attn.out" not in names


def test_a_stream_that_goes_through_a_norm_first_is_found():
    _, found = found_of(tiny("minimax"))
    assert found.layers[0].start is not None
    assert found.layers[0].wiring is None


def test_hooks_are_gone_also_if_the_model_fails():
    model = tiny_model("llama")
    subject, _ = found_of(model)
    broken = replace(subject, forward=lambda ids: logits_of(model)(ids) / None)
    with pytest.raises(TypeError, match="NoneType"):
        discover(broken, VOCABULARY)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def wrong(layer, change):
    """Change one thing in the description of a layer."""
    first, *rest = layer.additions
    term, *others = first.terms
    match change:
        case "sign":
            first = replace(first, terms=(replace(term, multiplier=-term.multiplier), *others))
        case "coefficient":
            first = replace(
                first, terms=(replace(term, multiplier=term.multiplier * 1.01), *others)
            )
        case "kept":
            first = replace(first, kept=1.001)
        case "order":
            other = rest[0].terms[0] if rest else others[0]
            first = replace(first, terms=(replace(term, added=other.added), *others))
        case "once more":
            first = replace(first, terms=(term, term, *others))
        case "left out":
            first = replace(first, terms=tuple(others))
    return replace(layer, additions=(first, *rest))


@pytest.mark.parametrize("change", ["sign", "coefficient", "kept", "order", "once more"])
@pytest.mark.parametrize(
    "name",
    [
        *("llama", "gpt2", "gemma2", "granite", "opt", "bloom", "olmo2", "qwen3_moe"),
        *("gpt_neox", "phi", "falcon two norms"),
    ],
)
def test_a_wrong_wiring_is_refused(name, change):
    subject, found = found_of(tiny_model(name))
    changed = replace(found, layers=(wrong(found.layers[0], change), *found.layers[1:]))
    proven = prove(subject, changed, (some_tokens(subject, VOCABULARY, first=5),))
    assert isinstance(proven.found.layers[0], str)
    assert all(isinstance(layer, Layer) for layer in proven.found.layers[1:])


def test_a_sum_is_checked_number_by_number():
    stream, added = torch.randn(2, 33, 16, dtype=torch.float64)
    total = stream + 0.22 * added
    (found,) = fits(total, stream, [added], num_terms=1, keeping="whole", eps=1e-7)
    assert found.coefficients == (0.22,)
    total[3, 5] += 1e-4
    assert not list(fits(total, stream, [added], num_terms=1, keeping="whole", eps=1e-7))
    assert not adds_up(total, [stream, 0.22 * added], eps=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "name",
    [
        *("llama", "gpt2", "gemma2", "granite", "opt", "olmo2"),
        *("gpt_neox", "phi", "falcon two norms"),
    ],
)
def test_half_precision_changes_nothing_of_what_is_found(name, dtype):
    _, expected = found_of(tiny_model(name, torch.float64))
    _, found = found_of(tiny_model(name, dtype))
    assert found == expected


@pytest.mark.parametrize("change", ["sign", "coefficient", "order", "once more"])
@pytest.mark.parametrize(
    "name",
    [
        "llama",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("gpt2", "gemma2", "gpt_neox")),
    ],
)
def test_a_wrong_wiring_is_refused_in_half_precision_too(name, change):
    subject, found = found_of(tiny_model(name, torch.bfloat16))
    changed = replace(found, layers=(wrong(found.layers[0], change), *found.layers[1:]))
    proven = prove(subject, changed, (some_tokens(subject, VOCABULARY, first=5),))
    assert isinstance(proven.found.layers[0], str)


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 3000.0), (torch.bfloat16, 300.0)])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_massive_activations_hide_nothing(name, dtype, size):
    """Other numbers of the stream are around 0.02."""
    model = tiny_model(name, dtype)
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 3] += size
    _, found = found_of(model)
    assert [layer.wiring for layer in found.layers] == ["sequential"] * 3
    assert all(layer.is_closed for layer in found.layers)
