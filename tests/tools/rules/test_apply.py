"""Rules and surrogates of Transformers models, without naming a module."""

import pytest
import torch
from torch import nn

import backlight
from backlight.errors import ConfigError
from backlight.learning_rules import LocalGPT, LocalGPTConfig
from zoo.models import CONFIGS, tiny_model
from zoo.tokenizers import WordTokenizer

TOKENS = torch.randint(1, 90, (2, 7), generator=torch.Generator().manual_seed(0))


def gradients(model):
    model.zero_grad()
    logits = model(TOKENS).logits
    loss = nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).double(), TOKENS[:, 1:].flatten()
    )
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return logits.detach(), found


def centres(model):
    kinds = {type(module).__name__ for module in model.modules()}
    return any("LayerNorm" in kind for kind in kinds) or "CohereLayerNorm" in kinds


@pytest.mark.parametrize("name", CONFIGS)
def test_all_norms_of_every_architecture_are_found_with_their_form(name):
    model = tiny_model(name)
    norms = {
        path
        for path, module in model.named_modules()
        if "norm" in type(module).__name__.lower() and not any(module.children())
    } - {"transformer.word_embeddings_layernorm"}  # before the first block
    logits, exact = gradients(model)
    true_for = "true" if centres(model) else "radial_only"
    with backlight.surrogate_norm(model, "identity") as applied:
        assert set(applied.paths) == norms
        same, without = gradients(model)
    assert torch.equal(logits, same)
    assert any(not torch.allclose(without[key], exact[key]) for key in exact)
    with backlight.surrogate_norm(model, true_for):
        _, found = gradients(model)
    for key, gradient in exact.items():
        assert (found[key] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-7, key


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "gpt_neox"])
@pytest.mark.parametrize("rule", ["fa", "sign_uniform", "sign_random", "dfa"])
def test_a_rule_takes_a_transformers_model_as_it_is(name, rule):
    model = tiny_model(name)
    logits, exact = gradients(model)
    with backlight.apply_rule(model, rule):
        same, found = gradients(model)
    _, again = gradients(model)
    assert torch.equal(logits, same)
    assert all(torch.equal(again[key], exact[key]) for key in exact)
    differing = [key for key in exact if not torch.allclose(found[key], exact[key], rtol=1e-3)]
    assert len(differing) > len(exact) / 2


def test_direct_feedback_reaches_every_block_of_a_family():
    with backlight.apply_rule(tiny_model("gpt2"), "dfa") as applied:
        assert set(applied.paths) == {"lm_head", *(f"transformer.h.{i}" for i in range(3))}


def test_a_local_network_knows_its_own_feedback_points():
    network = LocalGPT(LocalGPTConfig(n_layer=2, n_embd=8, n_head=2))
    with backlight.apply_rule(network, "dfa") as applied:
        assert set(applied.paths) == {"lm_head", "transformer.h.0", "transformer.h.1"}


def test_a_subject_is_taken_for_its_model():
    model = tiny_model("llama")
    subject = backlight.subject_from_module(model, WordTokenizer())
    with backlight.apply_rule(subject, "fa") as applied:
        assert "lm_head" in applied.paths


def test_an_unknown_rule_is_refused_with_the_rules_there_are():
    with pytest.raises(ConfigError, match=r"no rule 'feedback'.*bp, fa, dfa"):
        backlight.apply_rule(nn.Linear(2, 2), "feedback")


def test_a_module_without_linear_maps_is_refused():
    with pytest.raises(ConfigError, match="no linear map in this model"):
        backlight.apply_rule(nn.Sequential(nn.ReLU()), "fa")


def test_a_module_that_names_no_feedback_points_is_refused():
    with pytest.raises(ConfigError, match="feedback_points"):
        backlight.apply_rule(nn.Sequential(nn.Linear(2, 2)), "dfa", head="0")
