"""What is proven of a rule when a model is put under it, and what is refused."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from backlight.capture.record import record
from backlight.errors import ModelError, UnsupportedSiteError
from backlight.models import versions
from backlight.models.backward_rules import running
from backlight.models.backward_rules.subjects import rule_of, with_backward
from backlight.models.blocks.rerun import Blocks
from backlight.models.loading import subject_from_transformers
from backlight.models.modules import subject_from_module
from backlight.models.wiring.families import find_family
from backlight.objectives.objective import NextToken
from zoo.models import CONFIGS, OUTSIDE_THE_TABLE, tiny_model
from zoo.subjects import batch_of, subject_of
from zoo.tokenizers import WordTokenizer

RULES = ("frozen", "relp")
EXPERTS = ("mixtral", "qwen3_moe", "gpt_oss")


def of_interface(name):
    family = find_family(tiny_model(name).config)
    return family is not None and family.attn_interface


@pytest.mark.parametrize("name", CONFIGS)
def test_every_wiring_passes_frozen_or_is_refused_because_of_its_attention(name):
    subject = subject_of(name)
    if of_interface(name):
        assert rule_of(with_backward(subject, "frozen")) == "frozen"
        return
    with pytest.raises(UnsupportedSiteError, match="pattern cannot be held fixed"):
        with_backward(subject, "frozen")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_wiring_passes_relp_or_is_refused_because_of_attention_or_experts(name):
    subject = subject_of(name)
    if of_interface(name) and name not in EXPERTS:
        assert rule_of(with_backward(subject, "relp")) == "relp"
        return
    reason = "Softmax.* neither linear nor" if name in EXPERTS else "pattern cannot be held fixed"
    with pytest.raises(UnsupportedSiteError, match=reason):
        with_backward(subject, "relp")


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_proven_for_each_attention_kernel_and_number_format(rule, kernel):
    for dtype in (torch.float64, torch.bfloat16):
        model = tiny_model("llama", dtype)
        model.config._attn_implementation = kernel
        with_backward(subject_from_transformers(model, WordTokenizer()), rule)


@pytest.mark.parametrize("name", ["llama", "gemma2", "olmo2", "granite"])
def test_relevance_is_one_number_in_all_layers_of_a_model_without_biases(name):
    subject, batch = with_backward(subject_of(name, torch.float64), "relp"), batch_of()
    sites = [
        subject.sites[f"layers.{layer}.resid.{end}"]
        for layer in (0, 1, 2)
        for end in ("pre", "post")
    ]
    tape = record(subject, batch, sites, objective=NextToken(), keep_activations=True)
    sums = [
        (tape.activations[site.name] * tape.gradients[site.name]).sum().item() for site in sites
    ]
    assert abs(sums[0]) > 1e-3
    assert sums == pytest.approx([sums[0]] * len(sums), rel=1e-5)


def test_frozen_does_not_conserve_relevance_and_true_gradients_do_not():
    for rule in ("true", "frozen"):
        subject, batch = with_backward(subject_of(dtype=torch.float64), rule), batch_of()
        sites = [subject.sites[f"layers.{layer}.resid.pre"] for layer in (0, 2)]
        tape = record(subject, batch, sites, keep_activations=True)
        first, last = (
            (tape.activations[site.name] * tape.gradients[site.name]).sum().item() for site in sites
        )
        assert abs(first - last) > 0.01 * abs(last)


def unchanged(run, **_):
    return run


SKIPPED = [
    ("_with_fixed_scale", "frozen", "norm1.in is not that of the norm with a fixed scale"),
    ("_with_fixed_ratio", "relp", "SiluBackward0 stands in the way back"),
    ("_with_halved_products", "relp", "MulBackward0 stands in the way back"),
]


@pytest.mark.parametrize(("step", "rule", "message"), SKIPPED)
def test_a_step_that_the_rule_skips_is_found(step, rule, message, monkeypatch):
    monkeypatch.setattr(running, step, unchanged)
    with pytest.raises(
        UnsupportedSiteError, match=f"{rule} cannot be proven for llama: .*{message}"
    ):
        with_backward(subject_of(), rule)


def test_a_pattern_that_is_not_held_fixed_is_found(monkeypatch):
    monkeypatch.setattr(running, "_hold_pattern", lambda call: (call.query, call.key, call.value))
    with pytest.raises(UnsupportedSiteError, match="the pattern in layer 0 is not held fixed"):
        with_backward(subject_of(), "frozen")


def test_a_forward_pass_that_is_another_is_found(monkeypatch):
    def louder(run, **_):
        return lambda x: run(x) * (1 + 1e-6)

    monkeypatch.setattr(running, "_with_fixed_scale", louder)
    with pytest.raises(UnsupportedSiteError, match="forward pass under it is not the model's own"):
        with_backward(subject_of(), "frozen")


def test_a_product_whose_whole_gradient_goes_to_each_factor_is_found(monkeypatch):
    class WholeEach:
        @staticmethod
        def apply(a, b, run):
            return (
                running_half.apply(a, b, run) + running_half.apply(a, b, run) - run(a, b).detach()
            )

    running_half = running.HalfEach
    monkeypatch.setattr(running, "HalfEach", WholeEach)
    with pytest.raises(UnsupportedSiteError, match=r"gradient times activation at .* is"):
        with_backward(subject_of(dtype=torch.float64), "relp")


class FixedRatio(torch.autograd.Function):
    """Gives back twice what came, under the name of the rule's step."""

    @staticmethod
    def forward(_, x, run):
        return run(x)

    @staticmethod
    def backward(_, *gradients):
        return gradients[0] * 2, None


def test_a_wrong_share_of_a_nonlinearity_is_found(monkeypatch):
    monkeypatch.setattr(running, "FixedRatio", FixedRatio)
    with pytest.raises(UnsupportedSiteError, match="back as its output's share of its input"):
        with_backward(subject_of(), "relp")


class NormBefore(nn.Module):
    """An MLP with a norm of its own, which the table of architectures does not name."""

    def __init__(self, mlp, width):
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(width), mlp

    def forward(self, x):
        return self.mlp(self.norm(x))


@pytest.mark.parametrize("rule", RULES)
def test_a_norm_that_the_table_does_not_name_is_found(rule):
    model = tiny_model("llama")
    model.model.layers[1].mlp = NormBefore(model.model.layers[1].mlp, 32)
    subject = subject_from_transformers(model, WordTokenizer(), name="odd")
    with pytest.raises(UnsupportedSiteError, match="NativeLayerNormBackward0 stands in the way"):
        with_backward(subject, rule)


class NotZeroAtZero(nn.Sigmoid):
    """A nonlinearity whose share of its input is infinite at 0."""

    __module__ = "torch.nn.modules.activation"


def test_a_nonlinearity_that_is_not_zero_at_zero_is_refused():
    model = tiny_model("gpt2")
    model.transformer.h[1].mlp.act = NotZeroAtZero()
    with pytest.raises(UnsupportedSiteError, match="NotZeroAtZero is not 0 at 0, number by number"):
        with_backward(subject_from_transformers(model, WordTokenizer()), "relp")


def test_a_module_and_an_architecture_outside_of_the_table_are_refused():
    by_hand = nn.Sequential(nn.Embedding(26, 8), nn.Linear(8, 8), nn.Linear(8, 26))
    strange = AutoModelForCausalLM.from_config(OUTSIDE_THE_TABLE)
    for subject in (
        subject_from_module(by_hand, WordTokenizer()),
        subject_from_transformers(strange, WordTokenizer(), name="persimmon"),
    ):
        with pytest.raises(UnsupportedSiteError, match="not in the table of architectures, so"):
            with_backward(subject, "frozen")


def test_sites_that_act_through_the_pattern_alone_are_refused():
    subject = with_backward(subject_of("qwen3"), "frozen")
    for kind in ("q", "k", "q_norm", "k_norm"):
        with pytest.raises(UnsupportedSiteError, match=f"attn.{kind} acts through the attention"):
            record(subject, batch_of(), [subject.sites[f"layers.0.attn.{kind}"]])


def test_a_subject_says_by_which_rule_its_gradients_go_back():
    plain = subject_of()
    subject = with_backward(plain, "relp")
    assert subject.facts["backward"] == "relp"
    assert "gradients by the experimental rule relp: scales of norms" in subject.note["note"]
    assert with_backward(subject, "relp") is subject
    assert with_backward(plain, "true") is plain
    with pytest.raises(ModelError, match="go back by the rule relp already"):
        with_backward(subject, "frozen")


def test_a_model_under_a_rule_can_be_run_from_a_block_on():
    subject, batch = with_backward(subject_of(dtype=torch.float64), "relp"), batch_of()
    entry, site = (subject.sites[f"layers.1.{kind}"] for kind in ("resid.pre", "mlp.out"))
    whole = record(subject, batch, [entry, site], keep_activations=True)
    with Blocks.of(subject).entering(1, whole.activations[entry.name]):
        part = record(subject, batch, [site])
    torch.testing.assert_close(part.gradients[site.name], whole.gradients[site.name])


def test_weights_that_are_learned_after_the_proof_count():
    subject, batch = with_backward(subject_of(dtype=torch.float64), "frozen"), batch_of()
    site = subject.sites["layers.0.mlp.out"]
    with torch.no_grad():
        subject.model.model.norm.weight.data = subject.model.model.norm.weight.data * 3
    later = record(subject, batch, [site])
    fresh = record(
        with_backward(subject_from_transformers(subject.model, WordTokenizer()), "frozen"),
        batch,
        [site],
    )
    assert torch.equal(later.gradients[site.name], fresh.gradients[site.name])


def test_the_docs_table_lists_every_architecture_with_the_rules_that_it_passes():
    page = Path(__file__).parents[3] / "docs" / "backward.md"
    rows = re.findall(
        r"^\| (`.*`) \| (yes|no) \| (yes|no) \|$", page.read_text("utf-8"), re.MULTILINE
    )
    told = {
        kind.strip("`"): {"frozen": frozen == "yes", "relp": relp == "yes"}
        for kinds, frozen, relp in rows
        for kind in kinds.split(", ")
    }
    found = {
        CONFIGS[name][0]: {
            "frozen": of_interface(name),
            "relp": of_interface(name) and name not in EXPERTS,
        }
        for name in CONFIGS
    }
    assert told == found


def test_a_torch_that_cannot_go_back_from_within_a_graph_is_refused(monkeypatch):
    subject, installed = subject_of("llama"), versions.version
    monkeypatch.setattr(
        versions,
        "version",
        lambda package: "2.4.1" if package == "torch" else installed(package),
    )

    with pytest.raises(ModelError, match=r"The rule frozen needs torch 2\.5 or later, and 2\.4\.1"):
        with_backward(subject, "frozen")
