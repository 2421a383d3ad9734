"""Gradients under a rule are those of a hand-written model that detaches in the right places."""

import math

import pytest
import torch
from torch.nn import functional
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from backlight.capture.record import record
from backlight.models.backward_rules.subjects import with_backward
from backlight.objectives.objective import NextToken
from zoo.subjects import batch_of, subject_of, tappable

RULES = ("frozen", "relp")
OBJECTIVE = NextToken("token_sum")


def fixed(rule, values):
    """Cut off what a rule holds fixed."""
    return values if rule == "true" else values.detach()


def nonlinear(rule, act, x):
    return x * (act(x) / x).detach() if rule == "relp" else act(x)


def product(rule, a, b):
    return (a * b.detach() + a.detach() * b) / 2 if rule == "relp" else a * b


def attend(rule, q, k, v):
    """Attend causally; ``[batch, heads, positions, width]``, keys and values for fewer heads."""
    groups = q.shape[1] // k.shape[1]
    k, v = (each.repeat_interleave(groups, dim=1) for each in (k, v))
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    pattern = fixed(rule, scores.masked_fill(later, -torch.inf).softmax(dim=-1))
    return (pattern @ v).transpose(1, 2).flatten(2)


def heads(values, width):
    return values.unflatten(2, (-1, width)).transpose(1, 2)


def layer_norm(rule, norm, x):
    centred = x - x.mean(dim=-1, keepdim=True)
    root = fixed(rule, (centred.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt())
    return centred / root * norm.weight + norm.bias


def rms_norm(rule, norm, x):
    root = fixed(rule, (x.square().mean(dim=-1, keepdim=True) + norm.variance_epsilon).sqrt())
    return x / root * norm.weight


def new_gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def by_hand_gpt2(model, rule, tokens):
    """Run GPT-2 step by step, and list what passes."""
    trunk, seen = model.transformer, {}
    places = torch.arange(tokens.shape[1])
    x = trunk.wte(tokens) + trunk.wpe(places)
    for layer, block in enumerate(trunk.h):
        x = seen[f"layers.{layer}.resid.pre"] = x.detach().requires_grad_() if layer == 0 else x
        attn, mlp = block.attn, block.mlp
        q, k, v = attn.c_attn(layer_norm(rule, block.ln_1, x)).chunk(3, dim=-1)
        z = attend(rule, *(heads(each, attn.head_dim) for each in (q, k, v)))
        seen[f"layers.{layer}.attn.z"] = z
        x = seen[f"layers.{layer}.resid.mid"] = x + attn.c_proj(z)
        inner = nonlinear(rule, new_gelu, mlp.c_fc(layer_norm(rule, block.ln_2, x)))
        out = seen[f"layers.{layer}.mlp.out"] = mlp.c_proj(inner)
        x = x + out
    return layer_norm(rule, trunk.ln_f, x), seen


def by_hand_llama(model, rule, tokens):
    """Run Llama step by step, and list what passes."""
    trunk, seen = model.model, {}
    x = trunk.embed_tokens(tokens)
    cos, sin = trunk.rotary_emb(x, torch.arange(tokens.shape[1])[None])
    for layer, block in enumerate(trunk.layers):
        x = seen[f"layers.{layer}.resid.pre"] = x.detach().requires_grad_() if layer == 0 else x
        attn, mlp = block.self_attn, block.mlp
        u = rms_norm(rule, block.input_layernorm, x)
        q, k, v = (
            heads(part(u), attn.head_dim) for part in (attn.q_proj, attn.k_proj, attn.v_proj)
        )
        z = attend(rule, rotated(q, cos, sin), rotated(k, cos, sin), v)
        seen[f"layers.{layer}.attn.z"] = z
        x = seen[f"layers.{layer}.resid.mid"] = x + attn.o_proj(z)
        u = rms_norm(rule, block.post_attention_layernorm, x)
        gate = nonlinear(rule, functional.silu, mlp.gate_proj(u))
        out = mlp.down_proj(product(rule, gate, mlp.up_proj(u)))
        seen[f"layers.{layer}.mlp.out"] = out
        x = x + out
    return rms_norm(rule, trunk.norm, x), seen


def rotated(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat([-second, first], dim=-1) * sin[:, None]


BY_HAND = {"gpt2": by_hand_gpt2, "llama": by_hand_llama}


def double_norm(self, hidden_states):
    """Normalise in the number format of the weights, where the library does so in float32."""
    return rms_norm("true", self, hidden_states)


@pytest.mark.parametrize("rule", ["true", *RULES])
@pytest.mark.parametrize("name", BY_HAND)
def test_gradients_are_those_of_a_model_that_detaches_in_the_right_places(name, rule, monkeypatch):
    monkeypatch.setattr(LlamaRMSNorm, "forward", double_norm)
    subject, batch = subject_of(name, torch.float64), batch_of()
    kinds = ("resid.pre", "attn.z", "resid.mid", "mlp.out")
    sites = [subject.sites[f"layers.{layer}.{kind}"] for layer in range(3) for kind in kinds]
    tape = record(with_backward(subject, rule), batch, sites, objective=OBJECTIVE)
    output, seen = BY_HAND[name](subject.model, rule, batch.input_ids)
    gradient = OBJECTIVE(output, batch, subject.head).gradient
    expected = torch.autograd.grad(output, list(seen.values()), gradient)
    for where, oracle in zip(seen, expected, strict=True):
        assert oracle.abs().max() > 1e-6, where
        torch.testing.assert_close(tape.gradients[where], oracle, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "olmo2", "phi", "stablelm parallel"])
def test_what_a_model_computes_under_a_rule_is_its_own_to_the_last_bit(name, rule):
    subject, batch = subject_of(name), batch_of()
    sites = [site for site in tappable(subject) if ".attn.q" not in site.name]
    sites = [site for site in sites if ".attn.k" not in site.name]
    plain = record(subject, batch, sites, keep_activations=True)
    ruled = record(with_backward(subject, rule), batch, sites, keep_activations=True)
    assert torch.equal(plain.nats, ruled.nats)
    for site in sites:
        assert torch.equal(plain.activations[site.name], ruled.activations[site.name]), site.name
    first = "layers.0.resid.pre"
    assert not torch.allclose(plain.gradients[first], ruled.gradients[first], rtol=1e-2)


@pytest.mark.parametrize("rule", RULES)
def test_a_model_is_as_it_was_after_a_pass_under_a_rule_and_after_an_error(rule):
    subject, batch = subject_of(), batch_of()
    site = subject.sites["layers.0.mlp.out"]
    under_rule = with_backward(subject, rule)
    before = record(subject, batch, [site])
    held = {path: set(vars(module)) for path, module in subject.model.named_modules()}
    record(under_rule, batch, [site])

    def fail(module, inputs):
        raise ZeroDivisionError

    handle = subject.model.model.layers[1].mlp.act_fn.register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError):
        record(under_rule, batch, [site])
    handle.remove()
    assert held == {path: set(vars(module)) for path, module in subject.model.named_modules()}
    assert subject.model.config._attn_implementation == "sdpa"
    after = record(subject, batch, [site])
    assert torch.equal(before.gradients[site.name], after.gradients[site.name])


def test_attention_can_be_tapped_while_a_rule_is_in_force():
    subject, batch = subject_of(dtype=torch.float64), batch_of()
    under_rule, sites = with_backward(subject, "frozen"), ["layers.1.attn.v", "layers.1.attn.z"]
    alone = record(under_rule, batch, [under_rule.sites[sites[1]]])
    both = record(under_rule, batch, [under_rule.sites[name] for name in sites])
    torch.testing.assert_close(alone.gradients[sites[1]], both.gradients[sites[1]])
    assert both.gradients[sites[0]].abs().max() > 0
