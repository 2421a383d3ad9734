"""Backward passes of norms: against formulas, autograd, and what decompose says of them."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity
from torch.testing import assert_close

from backlight.decompose.norm import (
    norm_energies,
    split_layer_norm_gradient,
    split_rms_norm_gradient,
)
from backlight.decompose.surrogates import SURROGATES, match_surrogates
from backlight.errors import ConfigError
from backlight.learning_rules import NORM_BACKWARDS, surrogate_norm
from backlight.learning_rules.norms import surrogate_gradient
from zoo.local import Checkpointed, differing, gradients, small_network
from zoo.models import tiny_model

layer_norm_energies = partial(norm_energies, is_centred=True)
rms_norm_energies = partial(norm_energies, is_centred=False)


EPS = 0.1
KINDS = {
    "layer": (nn.LayerNorm, layer_norm_energies, split_layer_norm_gradient),
    "rms": (nn.RMSNorm, rms_norm_energies, split_rms_norm_gradient),
}
REPLACED = [kind for kind in NORM_BACKWARDS if kind != "true"]


def norm_and_tensors(name):
    torch.manual_seed(2)
    norm = KINDS[name][0](8, eps=EPS).double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter += torch.randn(8).double()
    return norm, torch.randn(5, 3, 8).double() + 0.7, torch.randn(5, 3, 8).double() + 0.4


def passed(norm, x, grad):
    x = x.clone().requires_grad_()
    norm.zero_grad()
    y = norm(x)
    y.backward(grad)
    return x.grad, y.detach(), [parameter.grad.clone() for parameter in norm.parameters()]


def written_out(name, kind, x, u):
    x = x - x.mean(-1, keepdim=True) if name == "layer" else x
    mean = u.mean(-1, keepdim=True) if name == "layer" else 0.0
    sigma = (x.square().mean(-1, keepdim=True) + EPS).sqrt()
    radial = x / sigma * (u * x / sigma).mean(-1, keepdim=True)
    return {
        "true": (u - mean - radial) / sigma,
        "center_scale": (u - mean) / sigma,
        "scale": u / sigma,
        "projected": u - mean - radial,
        "identity": u,
        "radial_only": (u - radial) / sigma,
    }[kind]


@pytest.mark.parametrize("kind", NORM_BACKWARDS)
@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_its_formula_and_gain_and_bias_learn_exactly(name, kind):
    norm, x, grad = norm_and_tensors(name)
    _, y, exact = passed(norm, x, grad)

    with surrogate_norm(norm, kind):
        found, same, learned = passed(norm, x, grad)

    assert torch.equal(y, same)
    assert_close(found, written_out(name, kind, x, grad * norm.weight.detach()))
    assert all(map(torch.equal, learned, exact))


@pytest.mark.parametrize("name", KINDS)
def test_true_is_what_autograd_leaves_and_what_decompose_says(name):
    norm, x, grad = norm_and_tensors(name)
    exact, _, _ = passed(norm, x, grad)
    u = grad * norm.weight.detach()
    found = surrogate_gradient("true", x, u, centred=name == "layer", eps=EPS)
    parts = KINDS[name][2](x, grad, norm.weight.detach(), eps=EPS)
    assert_close(found, exact, rtol=1e-12, atol=1e-12)
    assert_close(found, parts.total, rtol=1e-12, atol=1e-12)
    scale = surrogate_gradient("scale", x, u, centred=name == "layer", eps=EPS)
    assert_close(scale, parts.direct, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_cosines_and_lengths_are_those_that_decompose_predicts(name):
    norm, x, grad = norm_and_tensors(name)
    match = match_surrogates(KINDS[name][1](x, grad, norm.weight.detach(), eps=EPS))
    exact, _, _ = passed(norm, x, grad)
    assert set(SURROGATES) == set(REPLACED)
    for index, kind in enumerate(SURROGATES):
        with surrogate_norm(norm, kind):
            found, _, _ = passed(norm, x, grad)
        assert_close(cosine_similarity(found, exact, dim=-1), match.cosine[..., index])
        assert_close(found.square().sum(-1), match.square[..., index])


def test_a_network_learns_through_them_and_gets_its_own_back():
    network = small_network()
    exact = gradients(network)
    with surrogate_norm(network, "identity") as applied:
        assert applied.paths == ("first.norm", "second.norm", "norm")
        assert isinstance(network.norm, nn.LayerNorm)
        found = gradients(network)
    above = {"norm.weight", "norm.bias", "head.weight", "head.bias"}
    assert found.keys() - differing(found, exact) == above
    with surrogate_norm(network, "true") as applied:
        assert applied.paths == ()
        assert not differing(gradients(network), exact, tolerance=0)
    assert not differing(gradients(network), exact, tolerance=0)
    assert type(network.norm) is nn.LayerNorm


def test_a_with_block_restores_norms_also_when_its_body_fails():
    network = small_network()
    with pytest.raises(KeyError, match="body"), surrogate_norm(network, "scale"):
        raise KeyError("body")
    assert [type(network.norm), type(network.first.norm)] == [nn.LayerNorm, nn.LayerNorm]
    assert not hasattr(network.norm, "norm_form")


@pytest.mark.parametrize("model_name", ["llama", "gemma", "gpt2", "cohere"])
def test_named_norms_of_transformers_models_take_the_formula(model_name):
    gain = "one_plus_weight" if model_name == "gemma" else "weight"
    centred = model_name in {"gpt2", "cohere"}
    model = tiny_model(model_name, torch.float64)
    path = "transformer.ln_f" if model_name == "gpt2" else "model.norm"
    norm = model.get_submodule(path)
    eps = getattr(norm, "variance_epsilon", None) or norm.eps
    x, grad = torch.randn(2, 5, 32).double(), torch.randn(2, 5, 32).double()
    exact, y, _ = passed(norm, x, grad)

    with surrogate_norm(model, "radial_only", norms={path: (centred, gain, eps)}) as applied:
        assert applied.paths == (path,)
        found, same, _ = passed(norm, x, grad)

    assert torch.equal(y, same)
    u = grad * (norm.weight.detach() + (gain == "one_plus_weight"))
    tolerance = 1e-12 if model_name == "gpt2" else 1e-5  # some norms compute in float32
    formula = {"centred": centred, "eps": eps}
    expected = surrogate_gradient("radial_only", x, u, **formula)
    assert_close(found, expected, rtol=tolerance, atol=tolerance)
    true = surrogate_gradient("true", x, u, **formula)
    assert_close(true, exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointing_changes_no_gradient(use_reentrant):
    wrapped = small_network(wrap=lambda block: Checkpointed(block, use_reentrant=use_reentrant))
    plain = small_network()
    surrogate_norm(wrapped, "center_scale")
    surrogate_norm(plain, "center_scale")
    assert not differing(gradients(wrapped), gradients(plain))


@pytest.mark.parametrize("kind", NORM_BACKWARDS)
def test_autocast_gives_nearly_the_gradients_of_single_precision(kind):
    network = small_network(torch.float32)
    with surrogate_norm(network, kind):
        expected = gradients(network)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = gradients(network)
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() < 0.05 * gradient.norm(), name


def test_half_precision_is_raised_before_anything_is_squared():
    norm, x, grad = norm_and_tensors("layer")
    norm, x, grad = norm.bfloat16(), x.bfloat16(), grad.bfloat16()
    with surrogate_norm(norm, "center_scale"):
        found, _, _ = passed(norm, x, grad)
    assert found.dtype == torch.bfloat16
    u = grad.float() * norm.weight.detach().float()
    exact = surrogate_gradient("center_scale", x.float(), u, centred=True, eps=EPS)
    assert torch.equal(found, exact.bfloat16())


@pytest.mark.parametrize(
    "norm",
    [nn.LayerNorm(8, elementwise_affine=False), nn.LayerNorm(8, bias=False), nn.RMSNorm(8)],
    ids=str,
)
def test_norms_without_gain_bias_or_eps_are_known(norm):
    x, grad = torch.randn(3, 8), torch.randn(3, 8)
    exact, _, _ = passed(norm, x, grad)
    with surrogate_norm(norm, "radial_only"):
        found, _, _ = passed(norm, x, grad - grad.mean(-1, keepdim=True))
    # Of a gradient without mean (gains are ones), nothing is left to centre.
    if isinstance(norm, nn.LayerNorm):
        assert_close(found, exact)
    with surrogate_norm(norm, "identity"):
        assert torch.equal(passed(norm, x, grad)[0], grad)


def test_frozen_norms_operations_in_place_and_plain_inputs_do_no_harm():
    model = nn.Sequential(nn.LayerNorm(8).requires_grad_(False), nn.ReLU(inplace=True))
    with surrogate_norm(model, "identity"):
        x = torch.randn(3, 8, requires_grad=True)
        model(x).sum().backward()
        assert torch.equal(x.grad, (model[0](x.detach()) > 0).float())
        assert not model(x.detach()).requires_grad


def test_unknown_kinds_norms_and_forms_are_refused():
    network = small_network()
    with pytest.raises(ConfigError, match="no backward of norms 'ste', only true, center_scale, s"):
        surrogate_norm(network, "ste")
    with pytest.raises(ConfigError, match=r"no module 'nrom'. Did you mean norm"):
        surrogate_norm(network, "scale", norms={"nrom": (True, "weight", 1e-5)})
    with pytest.raises(ConfigError, match="no gain 'wight', only weight, one_plus_weight, None"):
        surrogate_norm(network, "scale", norms={"norm": (True, "wight", 1e-5)})
    with pytest.raises(
        ConfigError, match=r"norm 'first.gelu' has no weight to multiply by; give N"
    ):
        surrogate_norm(network, "scale", norms={"first.gelu": (True, "weight", 1e-5)})
    with pytest.raises(ConfigError, match=r"no nn.LayerNorm and no nn.RMSNorm. Name its norms: no"):
        surrogate_norm(nn.Linear(2, 2), "scale")
    with pytest.raises(ConfigError, match=r"form of 7 norms is not known \(model.layers.0.input_l"):
        surrogate_norm(tiny_model("llama"), "scale")
    with pytest.raises(ConfigError, match="norm '1' takes more than its last axis together"):
        surrogate_norm(nn.Sequential(nn.GELU(), nn.LayerNorm((3, 4))), "scale")


def test_a_second_backward_is_refused():
    network = small_network()
    with surrogate_norm(network, "scale"):
        with pytest.raises(ConfigError, match=r"'first.norm' already has an attribute 'norm_form'"):
            surrogate_norm(network, "identity")
        assert network.norm.norm_backward == "scale"
