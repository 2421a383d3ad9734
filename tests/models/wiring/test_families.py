"""The table of families, proven on a tiny model of each wiring."""

import dataclasses
from copy import deepcopy

import pytest
import torch

from backlight.errors import FamilyProofError
from backlight.models.loading import subject_from_transformers, subjects
from backlight.models.wiring.families import FAMILIES, find_family
from zoo.models import CONFIGS, tiny_model
from zoo.tokenizers import WordTokenizer

_NAMED_IN_THE_ISSUE = {
    *("llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma", "gemma2"),
    *("gemma3_text", "phi", "phi3", "gpt2", "gpt_neo", "gptj", "gpt_neox", "opt", "bloom"),
    *("falcon", "mpt", "olmo", "olmo2", "stablelm", "starcoder2", "cohere", "granite"),
    *("smollm3", "gpt_oss"),
}


def test_every_entry_of_the_table_has_a_tiny_model():
    used = {id(find_family(tiny_model(name).config)) for name in CONFIGS}

    assert used == {id(family) for family in FAMILIES}
    assert {kind for family in FAMILIES for kind in family.model_types} == _NAMED_IN_THE_ISSUE


@pytest.mark.parametrize("name", CONFIGS)
def test_the_table_holds_for_the_model(name):
    model = tiny_model(name)

    subject = subject_from_transformers(model, WordTokenizer(), name=name)  # proves itself

    assert subject.head is not None
    assert subject.num_layers == model.config.num_hidden_layers
    assert {"layers.0.mlp.out", "layers.2.resid.post", "embed.out"} <= set(subject.sites)
    assert all(parameter.requires_grad for parameter in model.parameters())  # as it was


@pytest.mark.parametrize("name", ["gpt2", "opt", "gpt_neox"])
def test_a_value_that_an_architecture_does_not_know_changes_nothing(name):
    subject = subject_from_transformers(tiny_model(name, num_key_value_heads=2), WordTokenizer())

    assert subject.sites["layers.0.attn.k"].num_heads == 4


def test_attention_taps_exist_where_the_interface_is_used():
    with_queries = {
        name
        for name in CONFIGS
        if "layers.0.attn.q" in subject_from_transformers(tiny_model(name), WordTokenizer()).sites
    }

    own = {"gpt_neo", "gptj", "bloom", "mpt"} | {name for name in CONFIGS if "falcon" in name}
    assert with_queries == set(CONFIGS) - own


_WRONG = {
    "another module": ("llama", {"mlp_out": "mlp.gate_proj"}, "is 64 wide, not 32"),
    "a module that adds the residual": ("bloom", {"mlp_out": "mlp"}, "does not add up"),
    "norms in place of each other": (
        "llama",
        {"norm1": "post_attention_layernorm", "norm2": "input_layernorm"},
        "does not add up|passes before",
    ),
    "a forgotten residual multiplier": ("granite", {"residual_multiplier": None}, "not add up"),
    "a forgotten sandwich norm": ("gemma2", {"norm2_post": None}, "does not add up"),
    "a sequential model taken for parallel": ("llama", {"wiring": "parallel"}, "not add up"),
    "heads on another axis": ("qwen3", {"qk_norm_heads_first": True}, "heads on another axis"),
    "a gain without its one": ("gemma", {"norm_kind": "rms"}, r"norm1\.out is not what a RMS norm"),
    "a gain with a one too many": ("llama", {"norm_kind": "rms_unit_offset"}, "is not what a RMS"),
    "an RMS norm that is said to centre": ("llama", {"norm_kind": "layer"}, "not what a layer no"),
    "a layer norm that is said not to": ("gpt2", {"norm_kind": "rms"}, "is not what a RMS norm"),
    "forgotten norms of queries": ("qwen3", {"q_norm": None, "k_norm": None}, "q_norm, a norm"),
    "a forgotten soft cap": ("gemma2", {"logit_cap": None}, "logits differ"),
    "a forgotten divisor": ("granite", {"logit_divisor": None}, "logits differ"),
}


@pytest.mark.parametrize(("name", "change", "complaint"), _WRONG.values(), ids=_WRONG)
def test_a_wrong_entry_is_an_error_when_the_model_is_loaded(monkeypatch, name, change, complaint):
    model = tiny_model(name)
    wrong = dataclasses.replace(find_family(model.config), **change)
    monkeypatch.setattr(subjects, "family_of", lambda model: wrong)
    if name == "gemma2":
        model.config.final_logit_softcapping = 1.0  # so that the cap bends these small logits

    with pytest.raises(FamilyProofError, match=complaint):
        subject_from_transformers(model, WordTokenizer(), name=name)


def test_a_norm_that_adds_something_else_under_the_root_is_refused():
    model = tiny_model("llama")
    norm = model.model.layers[1].post_attention_layernorm
    norm.variance_epsilon, norm.forward = 1e-7, type(norm).forward.__get__(deepcopy(norm))

    with pytest.raises(FamilyProofError, match=r"layers\.1\.norm2\.out is not .* with eps 1e-07"):
        subject_from_transformers(model, WordTokenizer())


def test_the_proof_leaves_no_hook_behind():
    model = tiny_model("gpt2")

    subject_from_transformers(model, WordTokenizer())

    hooks = [
        hook
        for module in model.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]
    assert hooks == []


def test_tapping_attention_changes_no_logit_and_restores_the_kernel():
    for name in ("llama", "mistral", "gemma2", "gpt_oss"):
        model = tiny_model(name)
        subject = subject_from_transformers(model, WordTokenizer())
        kernel = model.config._attn_implementation
        tokens = torch.arange(3, 15)[None]
        plain = subject.forward(tokens)

        with subject.tap_attention(lambda call: (call.query, call.key, call.value)):
            tapped = subject.forward(tokens)

        assert torch.equal(plain, tapped)
        assert model.config._attn_implementation == kernel
