"""The small GPT: against the same network in plain functions, and nanoGPT's numbers."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from backlight.errors import ConfigError
from backlight.learning_rules import RULES, LocalGPT, LocalGPTConfig, apply_rule, surrogate_norm

SMALL = {"block_size": 7, "vocab_size": 11, "n_layer": 2, "n_head": 2, "n_embd": 8}


def network(seed=0, **options):
    torch.manual_seed(seed)
    return LocalGPT(LocalGPTConfig(**{**SMALL, **options}))


def tokens(length=7, batch=3):
    generator = torch.Generator().manual_seed(9)
    return torch.randint(SMALL["vocab_size"], (2, batch, length), generator=generator)


def plain_loss(weights, x, y, *, attn_mode, pre):
    """The network as functions of its weights."""

    def norm(name, h):
        return functional.layer_norm(h, (8,), weights[f"{name}.weight"], weights[f"{name}.bias"])

    def linear(name, h):
        return functional.linear(h, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def attention(name, h):
        q, k, v = (
            part.view(len(h), -1, 2, 4).transpose(1, 2)
            for part in linear(f"{name}.c_attn", h).split(8, dim=-1)
        )
        scores = q @ k.transpose(2, 3) / math.sqrt(4)
        hidden = torch.ones(x.shape[1], x.shape[1]).triu(1) == 1
        scores = scores.masked_fill(hidden, float("-inf"))
        if attn_mode == "softmax":
            chances = functional.softmax(scores, dim=-1)
        else:
            chances = torch.sigmoid(scores + torch.tensor(-math.log(7)))
        return linear(f"{name}.c_proj", (chances @ v).transpose(1, 2).reshape(h.shape))

    def mlp(name, h):
        return linear(f"{name}.c_proj", functional.gelu(linear(f"{name}.c_fc", h)))

    h = weights["transformer.wte.weight"][x] + weights["transformer.wpe.weight"][: x.shape[1]]
    for index in range(2):
        block = f"transformer.h.{index}"
        if pre:
            h = h + attention(f"{block}.attn", norm(f"{block}.ln_1", h))
            h = h + mlp(f"{block}.mlp", norm(f"{block}.ln_2", h))
        else:
            h = norm(f"{block}.ln_1", h + attention(f"{block}.attn", h))
            h = norm(f"{block}.ln_2", h + mlp(f"{block}.mlp", h))
    h = norm("transformer.ln_f", h) if pre else h
    logits = functional.linear(h, weights["lm_head.weight"])
    return functional.cross_entropy(logits.view(-1, 11), y.view(-1))


@pytest.mark.parametrize("pre", [True, False])
@pytest.mark.parametrize("attn_mode", ["softmax", "sigmoid"])
def test_under_backpropagation_it_is_the_plain_network_to_the_bit(attn_mode, pre):
    model = network(attn_mode=attn_mode, norm_placement="pre" if pre else "post", method="bp")
    weights = {
        name: parameter.detach().clone().requires_grad_()
        for name, parameter in model.named_parameters()
    }
    x, y = tokens()

    _, loss = model(x, y)
    loss.backward()
    expected = plain_loss(weights, x, y, attn_mode=attn_mode, pre=pre)
    expected.backward()

    assert torch.equal(loss, expected)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.grad, weights[name].grad), name


@pytest.mark.parametrize("attn_mode", ["softmax", "sigmoid"])
def test_with_the_transposed_weights_feedback_alignment_is_backpropagation(attn_mode):
    model = network(attn_mode=attn_mode, method="fa").double()
    twin = network(attn_mode=attn_mode, method="bp").double()
    twin.load_state_dict(
        {name: value for name, value in model.state_dict().items() if "feedback" not in name}
    )
    for module in model.modules():
        if hasattr(module, "feedback"):
            module.feedback.copy_(module.weight.detach().t())
    for one in (model, twin):
        one(*tokens())[1].backward()
    for found, expected in zip(model.parameters(), twin.parameters(), strict=True):
        assert_close(found.grad, expected.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("attn_mode", ["softmax", "sigmoid"])
@pytest.mark.parametrize("points", ["macro", "micro"])
@pytest.mark.parametrize("placement", ["pre", "post"])
def test_every_weight_learns_under_every_rule(rule, attn_mode, points, placement):
    if points == "micro" and rule != "dfa":
        return
    model = network(method=rule, attn_mode=attn_mode, dfa_points=points, norm_placement=placement)
    model(*tokens())[1].backward()
    still = [name for name, parameter in model.named_parameters() if not parameter.grad.any()]
    assert still == []


def test_a_rule_changes_no_loss_before_the_first_step():
    losses = {rule: network(method=rule)(*tokens())[1].item() for rule in RULES}
    assert len(set(losses.values())) == 1
    assert losses["bp"] == pytest.approx(math.log(11), abs=0.05)


def test_feedback_alignment_learns_a_small_text_by_heart():
    model, (x, _) = network(method="fa"), tokens()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model(x[:, :-1], x[:, 1:])[1]
        loss.backward()
        optimizer.step()
    assert loss.item() < 1.6


def test_direct_feedback_arrives_at_ends_or_also_in_the_middle_and_behind_activations():
    ends = [f"transformer.h.{index}" for index in range(2)]
    assert network(method="dfa").feedback_points() == ends
    micro = network(method="dfa", dfa_points="micro", dfa_shared=False, dfa_error="after_head")
    assert micro.feedback_points() == [
        f"{block}{name}" for block in ends for name in (".mid", ".mlp.gelu", "")
    ]
    micro(*tokens())
    assert micro.lm_head.direct_feedback.shape == (2 * (8 + 32 + 8), 11)


@pytest.mark.parametrize(
    ("bias", "n"), [("block_size", [7] * 5), ("visible_keys", [1, 2, 3, 4, 5]), ("none", [1] * 5)]
)
def test_sigmoid_weights_start_near_one_over_n_and_are_zero_where_hidden(bias, n):
    attention = network(attn_mode="sigmoid", sigmoid_bias=bias).transformer.h[0].attn
    scores = torch.zeros(1, 2, 5, 5).masked_fill(attention.hidden[:5, :5], -math.inf)
    weights = attention.weigh(scores)
    for query, number in enumerate(n):
        expected = torch.full((query + 1,), 1 / (1 + number))  # sigmoid(-log n)
        assert_close(weights[0, 1, query, : query + 1], expected)
    assert torch.equal(weights.triu(1), torch.zeros_like(weights))


def test_rows_of_sigmoid_weights_may_be_normalised():
    attention = network(attn_mode="sigmoid", normalize_rows=True).transformer.h[0].attn
    scores = torch.randn(1, 2, 5, 5).masked_fill(attention.hidden[:5, :5], -math.inf)
    weights = attention.weigh(scores)
    assert_close(weights.sum(-1), torch.ones(1, 2, 5))
    assert torch.equal(weights.triu(1), torch.zeros_like(weights))


@pytest.mark.parametrize("attn_mode", ["softmax", "sigmoid"])
def test_no_token_sees_a_later_one(attn_mode):
    model = network(attn_mode=attn_mode)
    x, _ = tokens()
    other = x.clone()
    other[:, 4:] = (other[:, 4:] + 1) % 11
    assert torch.equal(model(x)[0][:, :4], model(other)[0][:, :4])


def test_shape_and_initialisation_are_nanogpts():
    torch.manual_seed(1)
    model = LocalGPT(LocalGPTConfig(bias=False, tied_head=True))
    # nanoGPT counts its small model without positions (facts 3.4).
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert num_parameters - model.transformer.wpe.weight.numel() == 795_904
    assert sum(isinstance(module, nn.LayerNorm) for module in model.modules()) == 2 * 4 + 1
    assert model.lm_head.weight is model.transformer.wte.weight
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            expected = 0.02 / math.sqrt(8) if name.endswith("c_proj.weight") else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.05), name
    biased = LocalGPT(LocalGPTConfig())
    biases = [value for name, value in biased.named_parameters() if name.endswith("bias")]
    assert len(biases) == 4 * 6 + 1
    assert not any(bias.any() for bias in biases)


def test_norms_take_the_backward_of_the_config():
    exact, found = network(norm="rmsnorm"), network(norm="rmsnorm", norm_backward="identity")
    plain = network(norm="rmsnorm")
    surrogate_norm(plain, "identity")
    for model in (exact, found, plain):
        model(*tokens())[1].backward()
    embeddings = [model.transformer.wte.weight.grad for model in (exact, found, plain)]
    assert torch.equal(embeddings[1], embeddings[2])
    assert not torch.equal(embeddings[0], embeddings[1])


def test_the_seed_fixes_weights_and_matrices():
    one, same, other = (network(seed, method="fa") for seed in (1, 1, 2))
    assert all(map(torch.equal, one.state_dict().values(), same.state_dict().values()))
    assert not torch.equal(one.lm_head.feedback, other.lm_head.feedback)
    assert torch.equal(one.lm_head.weight, network(1, method="bp").lm_head.weight)


@pytest.mark.parametrize("rule", RULES)
def test_checkpoints_are_saved_and_loaded(rule):
    saved, loaded = network(1, method=rule), network(2, method=rule)
    saved(*tokens())
    loaded.load_state_dict(saved.state_dict())
    for model in (saved, loaded):
        model(*tokens())[1].backward()
    for one, other in zip(saved.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_it_works_in_double_precision_and_without_targets():
    logits, loss = network(attn_mode="sigmoid").double()(tokens()[0])
    assert logits.dtype == torch.float64
    assert logits.shape == (3, 7, 11)
    assert loss is None


def test_a_rule_on_top_of_another_is_refused():
    with pytest.raises(ConfigError, match="A rule was already applied to"):
        apply_rule(network(method="fa"), "sign_uniform")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attn_mode": "relu"}, "no attention 'relu', only softmax, sigmoid"),
        ({"norm": "batch"}, "no norm 'batch', only layernorm, rmsnorm"),
        ({"norm_placement": "sandwich"}, "no placement of norms 'sandwich', only pre, post"),
        ({"sigmoid_bias": "log"}, "no bias of sigmoid attention 'log', only block_size, visible_k"),
        ({"dfa_points": "nano"}, "no set of feedback points 'nano', only macro, micro"),
        ({"method": "hebb"}, "no rule 'hebb', only bp, fa, dfa"),
        ({"norm_backward": "ste"}, "no backward of norms 'ste', only true, center_scale"),
        ({"method": "dfa", "feedback_scale": "forward"}, "no scale of direct feedback 'forward'"),
        ({"n_head": 3}, "A width of 8 cannot be shared evenly by 3 heads"),
        ({"n_layer": 0}, "sizes of a network must all be 1 or more"),
    ],
)
def test_networks_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        network(**options)


def test_a_sequence_longer_than_the_block_is_refused():
    with pytest.raises(ConfigError, match="sequence of 8 tokens is longer than the block size, 7"):
        network()(tokens(length=8)[0])
