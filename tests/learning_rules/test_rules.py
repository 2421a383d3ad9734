"""Rules on whole models: against the chain written out, backpropagation, and each other."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close
from transformers.pytorch_utils import Conv1D

from backlight.errors import ConfigError
from backlight.learning_rules import RULES, SCALES, DirectFeedback, apply_rule
from zoo.local import Checkpointed, differing, gradients, small_input, small_network
from zoo.models import tiny_model

CHAINED = ("fa", "sign_uniform", "sign_random")
DIRECT = {"direct": DirectFeedback(points=["first", "second"], head="head")}
MAPS = ("embed", "first.up", "first.down", "second.up", "second.down", "head")


def options(rule):
    return DIRECT if rule == "dfa" else {}


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def matrices(rule, network):
    """The matrix of the way back of each map, as the rule's definition says."""
    found = {}
    for path in MAPS:
        module = network.get_submodule(path)
        sign = module.weight.detach().t().sign()
        found[path] = module.feedback if rule == "fa" else sign * module.feedback
    return found


@pytest.mark.parametrize("rule", CHAINED)
def test_the_chain_goes_through_the_matrices_and_all_else_is_exact(rule):
    network = small_network()
    with apply_rule(network, rule, generator=seeded()):
        found, back = gradients(network), matrices(rule, network)

    # The same chain, each map cut in two: exact for the weights, and B for what lies below.
    def routed(module, path, x):
        through = functional.linear(x, back[path].t())
        return (
            through - through.detach() + functional.linear(x.detach(), module.weight, module.bias)
        )

    def plain(x):
        for name, part in network.named_children():
            if isinstance(part, nn.Sequential):
                x = part.gelu(routed(part.up, f"{name}.up", part.norm(x)))
                x = routed(part.down, f"{name}.down", x)
            else:
                x = routed(part, name, x) if isinstance(part, nn.Linear) else part(x)
        return x

    assert not differing(found, gradients(network, call=plain))
    assert differing(found, gradients(network)) >= {"embed.weight", "first.up.weight"}


def test_with_the_transposed_weights_feedback_alignment_is_backpropagation():
    for name, types in (("llama", {}), ("gpt2", {Conv1D: "in_out"})):
        model = tiny_model(name, torch.float64)
        tokens = torch.randint(1, 99, (2, 7))
        expected = gradients(model, tokens, lambda x, model=model: model(x).logits)

        with apply_rule(model, "fa", linear_types=types):
            for module in model.modules():
                if hasattr(module, "feedback"):
                    stored = module.weight.detach()
                    module.feedback = stored if isinstance(module, Conv1D) else stored.t()
            found = gradients(model, tokens, lambda x, model=model: model(x).logits)

        largest = max(gradient.abs().max() for gradient in expected.values())
        assert not differing(found, expected, tolerance=1e-12 * max(1.0, largest.item()))


def test_under_backpropagation_nothing_changes():
    network = small_network()
    expected = gradients(network)
    with apply_rule(network, "bp") as applied:
        assert applied.paths == ()
        found = gradients(network)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("rule", RULES)
def test_what_a_model_computes_stays_the_same_to_the_bit(rule):
    network, x = small_network(), small_input()
    expected = network(x)
    with apply_rule(network, rule, **options(rule)):
        assert torch.equal(network(x), expected)


@pytest.mark.parametrize("rule", CHAINED)
def test_the_last_map_learns_exactly_under_every_rule(rule):
    network = small_network()
    expected = gradients(network)
    with apply_rule(network, rule):
        found = gradients(network)
    assert_close(found["head.weight"], expected["head.weight"])
    assert_close(found["head.bias"], expected["head.bias"])


def test_uniform_signs_have_one_magnitude_and_random_ones_have_their_own():
    network = small_network()
    with apply_rule(network, "sign_uniform"):
        assert network.head.feedback.shape == ()
        assert_close(network.head.feedback, network.head.weight.detach().std(correction=0))
    with apply_rule(network, "sign_random", scale="kaiming"):
        assert network.head.feedback.shape == (6, 5)
        assert (network.head.feedback >= 0).all()
        assert network.head.feedback.unique().numel() == 30


def test_signs_follow_the_weights_as_they_learn():
    network = small_network()
    with apply_rule(network, "sign_uniform"):
        before = gradients(network)
        with torch.no_grad():
            network.head.weight.neg_()
            network.head.bias.neg_()
        after = gradients(network)
    # The output, its error and the way back all change their sign: nothing below notices.
    assert_close(after["second.down.weight"], before["second.down.weight"])


@pytest.mark.parametrize("rule", ["fa", "sign_random", "dfa"])
def test_a_seed_fixes_the_matrices(rule):
    def drawn(number):
        network = small_network()
        with apply_rule(network, rule, generator=seeded(number), **options(rule)):
            return gradients(network)

    assert not differing(drawn(1), drawn(1), tolerance=0)
    assert differing(drawn(1), drawn(2))


def test_without_a_generator_the_seed_of_torch_fixes_the_matrices():
    drawn = []
    for seed in (4, 4, 5):
        network = small_network()
        torch.manual_seed(seed)
        apply_rule(network, "fa")
        drawn.append(network.head.feedback)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("rule", CHAINED)
def test_every_scale_gives_every_rule_its_size(rule, scale):
    network = small_network()
    with apply_rule(network, rule, scale=scale):
        size = network.get_submodule("first.down").feedback.square().mean().sqrt().item()
    weight = network.get_submodule("first.down").weight
    expected = {
        "forward": weight.std(correction=0).item(),
        "xavier": (2 / 15) ** 0.5,
        "kaiming": (2 / 6) ** 0.5,
    }
    assert size == pytest.approx(expected[scale], rel=1e-9 if rule == "sign_uniform" else 0.3)


@pytest.mark.parametrize("rule", ["fa", "dfa"])
def test_a_with_block_restores_the_model_also_when_its_body_fails(rule):
    network = small_network()
    expected, keys = gradients(network), list(network.state_dict())
    with pytest.raises(KeyError, match="body"), apply_rule(network, rule, **options(rule)):
        raise KeyError("body")
    assert list(network.state_dict()) == keys
    assert [type(module) for module in network] == [type(module) for module in small_network()]
    assert not differing(gradients(network), expected, tolerance=0)
    assert not hasattr(network.head, "feedback")


def test_what_was_applied_stays_until_it_is_restored():
    network = small_network()
    applied = apply_rule(network, "fa")
    assert applied.paths == MAPS
    assert isinstance(network.head, nn.Linear)
    applied.restore()
    applied.restore()
    assert applied.paths == ()
    assert type(network.head) is nn.Linear


@pytest.mark.parametrize("rule", ["fa", "sign_uniform", "sign_random"])
def test_matrices_are_saved_and_loaded_and_moved_with_the_model(rule):
    saved, other = small_network(), small_network()
    apply_rule(saved, rule, generator=seeded(1))
    apply_rule(other, rule, generator=seeded(2))
    assert "first.up.feedback" in saved.state_dict()
    assert "first.up.feedback" not in dict(saved.named_parameters())

    other.load_state_dict(saved.state_dict())

    assert not differing(gradients(saved), gradients(other), tolerance=0)
    assert saved.to(torch.float32).head.feedback.dtype == torch.float32


@pytest.mark.parametrize("rule", ["fa", "dfa"])
def test_a_copy_keeps_the_rule_when_the_model_is_restored(rule):
    network = small_network()
    with apply_rule(network, rule, **options(rule)):
        gradients(network)
        twin = copy.deepcopy(network)
        expected = gradients(network)
    assert not differing(gradients(twin), expected, tolerance=0)
    assert differing(gradients(network), expected)


def test_frozen_weights_let_the_error_pass():
    network = small_network()
    with apply_rule(network, "fa", generator=seeded()):
        expected = gradients(network)
        network.head.requires_grad_(False)
        network.second.requires_grad_(False)
        found = gradients(network)
    assert "head.weight" not in found
    assert_close(found["embed.weight"], expected["embed.weight"])


def test_modules_that_are_left_backpropagate():
    network = small_network()
    with apply_rule(network, "fa", leave=["second", "*.down", "head"]) as applied:
        assert applied.paths == ("embed", "first.up")
    with apply_rule(network, "fa", leave=["*.up"]) as applied:
        assert applied.paths == ("embed", "first.down", "second.down", "head")


def test_other_modules_of_a_model_on_its_own_may_be_linear_maps():
    alone = nn.Linear(3, 2)
    with apply_rule(alone, "fa") as applied:
        assert applied.paths == ("",)
        assert alone.feedback.shape == (3, 2)
    assert type(alone) is nn.Linear


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("rule", RULES)
def test_checkpointing_changes_no_gradient(rule, use_reentrant):
    plain = small_network()
    wrapped = small_network(wrap=lambda block: Checkpointed(block, use_reentrant=use_reentrant))
    apply_rule(plain, rule, generator=seeded(), **options(rule))
    apply_rule(wrapped, rule, generator=seeded(), **options(rule))
    assert not differing(gradients(wrapped), gradients(plain))


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("rule", RULES)
def test_autocast_gives_nearly_the_gradients_of_single_precision(rule, inside):
    network = small_network(torch.float32)
    with apply_rule(network, rule, generator=seeded(), **options(rule)):
        expected = gradients(network)

        def lowered(x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return network(x)

        if inside:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found = gradients(network)
        else:
            found = gradients(network, call=lowered)
    for name, gradient in expected.items():
        assert found[name].dtype == torch.float32
        assert (found[name] - gradient).norm() < 0.05 * gradient.norm(), name


_COMPILED = """
from inspect import signature

import torch
from backlight.learning_rules import DirectFeedback, apply_rule, surrogate_norm
from zoo.local import differing, gradients, small_network

network = small_network()
before = torch.compile(network, backend="aot_eager", fullgraph=True)
exact = gradients(network)
assert not differing(gradients(network, call=before), exact)
for rule in ("fa", "sign_uniform", "sign_random"):
    with apply_rule(network, rule), surrogate_norm(network, "center_scale"):
        expected = gradients(network)
        assert differing(expected, exact)
        after = torch.compile(network, backend="aot_eager", fullgraph=True)
        assert not differing(gradients(network, call=after), expected), rule
        assert not differing(gradients(network, call=before), expected), rule
    assert not differing(gradients(network, call=before), exact), rule
with apply_rule(network, "dfa", direct=DirectFeedback(points=["first", "second"], head="head")):
    expected = gradients(network)
    after = torch.compile(network, backend="aot_eager")
    assert not differing(gradients(network, call=after), expected)
    torch._dynamo.reset()
    try:
        gradients(network, call=torch.compile(network, backend="aot_eager", fullgraph=True))
    except torch._dynamo.exc.Unsupported as error:
        takes_a_reason = "reason" in signature(torch.compiler.disable).parameters
        assert not takes_a_reason or "keeps the error outside of the graph" in str(error)
    else:
        raise AssertionError
print("done")
"""


@pytest.mark.slow
def test_compiled_models_follow_the_rule_and_its_end():
    # In a process of its own: the checks of shapes in tests are no code to compile.
    path = next(entry for entry in sys.path if entry.endswith("tests"))
    done = subprocess.run(
        [sys.executable, "-c", _COMPILED],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PATH": "", "HOME": "/nonexistent"},
        check=False,
    )
    assert done.stdout == "done\n", done.stderr


def test_a_transformers_model_learns_by_a_rule():
    model = tiny_model("gpt2")
    tokens = torch.randint(1, 99, (2, 7))
    exact = gradients(model, tokens, lambda x: model(x).logits)
    with apply_rule(model, "fa", linear_types={Conv1D: "in_out"}) as applied:
        found = gradients(model, tokens, lambda x: model(x).logits)
        assert len(applied.paths) == 4 * 3 + 1
        assert model.transformer.h[0].mlp.c_fc.feedback.shape == (32, 128)
    last = "transformer.h.2.mlp.c_proj.weight"
    assert differing(found, exact) >= {last, "transformer.h.0.attn.c_attn.weight"}


def test_a_tied_head_adds_its_own_exact_term_to_the_embedding():
    model, tokens = tiny_model("gpt2", torch.float64), torch.randint(1, 99, (2, 7))
    points = [f"transformer.h.{index}" for index in range(3)]
    model.set_input_embeddings(copy.deepcopy(model.get_input_embeddings()))  # untied
    rule = {"direct": DirectFeedback(points=points), "generator": seeded()}
    with apply_rule(model, "dfa", **rule):
        apart = gradients(model, tokens, lambda x: model(x).logits)
    model.lm_head.weight = model.get_input_embeddings().weight
    with apply_rule(model, "dfa", **{**rule, "generator": seeded()}):
        tied = gradients(model, tokens, lambda x: model(x).logits)
    assert_close(
        tied["transformer.wte.weight"],
        apart["transformer.wte.weight"] + apart["lm_head.weight"],
    )


def test_an_unknown_rule_scale_or_module_is_refused():
    network = small_network()
    with pytest.raises(ConfigError, match="no rule 'hebb', only bp, fa, dfa, sign_uniform, sign_r"):
        apply_rule(network, "hebb")
    with pytest.raises(ConfigError, match="no scale of feedback 'width', only forward, xavier, ka"):
        apply_rule(network, "fa", scale="width")
    with pytest.raises(
        ConfigError, match=r"No module of this model matches 'heads\*', which is to"
    ):
        apply_rule(network, "fa", leave=["head", "heads*"])


def test_a_model_without_linear_maps_is_refused():
    model = nn.Sequential(nn.Embedding(3, 4), nn.GELU(), nn.LayerNorm(4))
    with pytest.raises(ConfigError, match="no linear map in this model: no module is exactly Lin"):
        apply_rule(model, "fa")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: tiny_model("gpt2"), r"12 weights are in no linear map .*c_attn.weight of Conv1D"),
        (lambda: tiny_model("mixtral"), r"weights are in no linear map .*experts"),
        (lambda: nn.MultiheadAttention(4, 2), r"2 weights .*in_proj_weight of MultiheadAttention"),
        (lambda: nn.Sequential(nn.Conv1d(3, 4, 2), nn.Linear(4, 4)), r"1 weights .*0.weight of C"),
    ],
)
def test_weights_that_would_silently_backpropagate_are_refused_unless_left(model, message):
    with pytest.raises(ConfigError, match=message):
        apply_rule(model(), "fa")


def test_a_type_that_is_no_linear_map_as_it_was_said_to_be_is_refused():
    class Scaled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    with pytest.raises(ConfigError, match=r"'0', of type Scaled, does not multiply by its weights"):
        apply_rule(nn.Sequential(Scaled(3, 3)), "fa", linear_types={Scaled: "out_in"})
    with pytest.raises(ConfigError, match=r"of type Conv1D, does not .* alone, kept 'out_in'"):
        apply_rule(nn.Sequential(Conv1D(3, 3)), "fa", linear_types={Conv1D: "out_in"})


@pytest.mark.parametrize("rule", RULES)
def test_checkpointing_of_transformers_changes_no_gradient(rule):
    model, tokens = tiny_model("llama", torch.float64).train(), torch.randint(1, 99, (2, 7))
    points = [f"model.layers.{index}" for index in range(3)]
    with apply_rule(model, rule, direct=DirectFeedback(points=points), generator=seeded()):
        expected = gradients(model, tokens, lambda x: model(x).logits)
        model.gradient_checkpointing_enable({"use_reentrant": False})
        found = gradients(model, tokens, lambda x: model(x).logits)
    assert not differing(found, expected, tolerance=1e-10)


def test_experts_may_be_left():
    with apply_rule(tiny_model("mixtral"), "fa", leave=["*.experts", "*.gate"]) as applied:
        assert len(applied.paths) == 3 * 4 + 1


def test_a_second_rule_is_refused_and_changes_nothing():
    network = small_network()
    with apply_rule(network, "fa"):
        expected = gradients(network)
        with pytest.raises(ConfigError, match="already applied to 'embed'; restore that first"):
            apply_rule(network, "sign_uniform")
        assert not differing(gradients(network), expected, tolerance=0)
    with (
        apply_rule(network, "dfa", **DIRECT),
        pytest.raises(ConfigError, match="The module 'head' already has an attribute 'head_chann"),
    ):
        apply_rule(network, "dfa", **DIRECT)


def test_rules_are_undone_last_first():
    network = small_network()
    first = apply_rule(network, "fa")
    second = apply_rule(network, "dfa", **DIRECT)
    with pytest.raises(ConfigError, match="'head' was changed again by something applied later"):
        first.restore()
    second.restore()
    first.restore()
    assert type(network.head) is nn.Linear


def test_equal_weights_give_no_spread_to_draw_with():
    network = small_network()
    nn.init.zeros_(network.second.up.weight)
    with pytest.raises(ConfigError, match=r"weights of 'second.up' are all the same.*xavier"):
        apply_rule(network, "fa")
    assert type(network.embed) is nn.Linear
    with apply_rule(network, "fa", scale="xavier"):
        assert network.second.up.feedback.any()


def test_matrices_that_do_not_fit_are_refused():
    network, wider = nn.Sequential(nn.Linear(3, 4)), nn.Sequential(nn.Linear(3, 5))
    apply_rule(network, "fa")
    plain = {name: value for name, value in network.state_dict().items() if "feed" not in name}
    with pytest.raises(RuntimeError, match=r"Missing key.*0\.feedback"):
        network.load_state_dict(plain)
    network.load_state_dict(plain, strict=False)
    apply_rule(wider, "fa")
    with pytest.raises(ConfigError, match=r"matrix for '0' is of shape \(3, 5\); the rule .*3, 4"):
        network.load_state_dict(wider.state_dict())
