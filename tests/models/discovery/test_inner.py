"""Sites inside of attention and of experts: the table's own, gates, routers, parts, refusals."""

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from backlight.capture.attention import attention_module
from backlight.capture.record import record
from backlight.errors import UnsupportedSiteError
from backlight.models.discovery.finding import some_tokens
from backlight.models.loading.discovered import with_discovered
from backlight.models.loading.loaded import logits_of
from backlight.models.modules import subject_from_module
from backlight.models.sites import kind_of
from backlight.models.subject import plain_subject
from backlight.models.taps import tapping
from zoo.every_type import tiny, tiny_config
from zoo.models import CONFIGS, VOCABULARY
from zoo.subjects import batch_of, subject_of
from zoo.tokenizers import WordTokenizer

ALL_MASK_ATTENTION_FUNCTIONS = pytest.importorskip(
    "transformers.masking_utils"
).ALL_MASK_ATTENTION_FUNCTIONS

PARTS = ("attn.q", "attn.k", "attn.v", "attn.z")
INTERFACE = [name for name in CONFIGS if "layers.0.attn.q" in subject_of(name).sites]


def discovered(model, name="tiny"):
    plain = plain_subject(model, WordTokenizer(), name=name, forward=logits_of(model))
    return with_discovered(plain, model)


@pytest.mark.parametrize("name", INTERFACE)
def test_arithmetic_finds_the_heads_that_the_table_names(name):
    table = subject_of(name, dtype=torch.float64)
    ours = discovered(table.model)
    names = [each for each in table.sites if kind_of(each) in PARTS]
    assert len(names) == 4 * table.num_layers
    one = record(table, batch_of(), [table.sites[n] for n in names], keep_activations=True)
    two = record(ours, batch_of(), [ours.sites[n] for n in names], keep_activations=True)
    for each in names:
        assert ours.sites[each].width == table.sites[each].width
        assert ours.sites[each].num_heads == table.sites[each].num_heads
        assert torch.allclose(one.activations[each], two.activations[each], atol=1e-9), each
        assert torch.allclose(one.gradients[each], two.gradients[each], rtol=1e-6, atol=1e-9), each


def test_heads_behind_a_gate_are_proven_by_other_values():
    subject = discovered(tiny("qwen3_next"))
    site = subject.sites["layers.1.attn.gated_z"]
    assert (site.tap.module, site.tap.side) == ("model.layers.1.self_attn.o_proj", "input")
    assert site.num_heads * subject.sites["layers.1.attn.v"].width == 2 * site.width
    assert "layers.0.attn.gated_z" not in subject.sites


def test_what_stands_before_a_gate_is_refused_also_to_what_goes_back_through_attention():
    subject = discovered(tiny("qwen3_next"))
    assert subject.sites["layers.1.attn.q"].problem is None
    with pytest.raises(UnsupportedSiteError, match="a gate multiplies it before a module"):
        attention_module(subject, 1)


def turned(module, query, key, value, *args, **kwargs):
    """Attend, and give the heads in another order of their numbers."""
    output, weights = ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, *args, **kwargs)
    return output.roll(1, -1), weights


def test_heads_that_give_something_else_are_refused(monkeypatch):
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "turned", turned)
    masks = ALL_MASK_ATTENTION_FUNCTIONS
    monkeypatch.setitem(masks._local_mapping, "turned", masks["sdpa"])
    model = tiny("llama")
    model.config._attn_implementation = "turned"
    subject = discovered(model)
    with pytest.raises(UnsupportedSiteError, match="no module is given what the heads give"):
        record(subject, batch_of(), [subject.sites["layers.0.attn.q"]])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("diffllama", "several of its modules attend"),
        ("gpt_neo", "does not go through an attention interface"),
        ("falcon", "gives other logits while what attends is looked at"),
        ("doge", "looks its kernel up in a place of its own"),
    ],
)
def test_a_refusal_says_why(name, reason):
    subject = discovered(tiny(name))
    for part in PARTS:
        with pytest.raises(UnsupportedSiteError, match=rf"layers.0.{part} is not known.*{reason}"):
            record(subject, batch_of(), [subject.sites[f"layers.0.{part}"]])


def test_keys_of_an_earlier_layer_are_not_called_a_layers_own():
    subject = discovered(shared_keys())
    assert subject.sites["layers.3.attn.q"].problem is None
    assert "are those of model.layers.1" in subject.sites["layers.3.attn.k"].problem
    assert subject.sites["layers.1.attn.k"].problem is None


def shared_keys():
    config = tiny_config("gemma4_text")
    config.num_kv_shared_layers = 1
    return AutoModelForCausalLM.from_config(config).eval()


def test_a_router_is_measured_by_itself_as_among_others():
    subject = discovered(tiny("mixtral", torch.float64))
    site = subject.sites["layers.0.mlp.router"]
    assert (site.width, site.tap.inside) == (4, True)
    alone = record(subject, batch_of(), [site]).gradients[site.name]
    among = record(subject, batch_of(), [subject.sites["layers.0.resid.pre"], site])
    assert alone.abs().max() > 0
    assert torch.allclose(alone, among.gradients[site.name], atol=1e-12)


def test_the_gradient_of_a_router_is_that_of_moving_its_logits():
    model = tiny("mixtral", torch.float64)
    subject = discovered(model)
    site = subject.sites["layers.1.mlp.router"]
    batch = batch_of((0,))
    gradient = record(subject, batch, [site]).gradients[site.name][0]
    gate = model.get_submodule(site.tap.module)
    direction = torch.randn(gate.weight.shape, dtype=torch.float64)
    tape = record(subject, batch, [subject.sites["layers.1.norm2.out"]], keep_activations=True)
    x = tape.activations["layers.1.norm2.out"][0]
    before, losses = gate.weight.detach().clone(), []
    for step in (1e-3, -1e-3):  # its softmax is in float32
        with torch.no_grad():
            gate.weight.copy_(before + step * direction)
            logits = model(input_ids=batch.input_ids).logits[0, :-1]
            losses.append(float(nn.functional.cross_entropy(logits, batch.input_ids[0, 1:])))
    slope = (losses[0] - losses[1]) / 2e-3
    assert slope == pytest.approx(float((gradient * (x @ direction.T)).sum()), rel=3e-3)


def test_logits_that_were_used_before_they_are_seen_cannot_be_changed():
    subject = discovered(tiny("mixtral"))
    site = subject.sites["layers.0.mlp.router"]
    tokens = some_tokens(subject, VOCABULARY)
    refused = pytest.raises(UnsupportedSiteError, match="can be looked at, but not changed")
    with refused, tapping(subject, [site], lambda _, tensor: tensor * 2):
        subject.forward(tokens)


def test_a_router_whose_experts_are_not_those_with_the_largest_logits_is_refused():
    model = tiny("mixtral")
    experts = model.model.layers[0].mlp.experts
    experts.register_forward_pre_hook(lambda _, args: (args[0], 3 - args[1], args[2]))
    site = discovered(model).sites["layers.0.mlp.router"]
    assert "whose largest are the experts that are chosen" in site.problem


@pytest.mark.parametrize("name", ["deepseek_v3", "ernie4_5_moe"])
def test_routed_and_shared_parts_add_up_to_the_mlp(name):
    subject = discovered(tiny(name, torch.float64))
    names = [f"layers.1.mlp.{part}" for part in ("routed.out", "shared.out", "out")]
    tape = record(subject, batch_of(), [subject.sites[n] for n in names], keep_activations=True)
    routed, shared, whole = (tape.activations[name] for name in names)
    assert routed.abs().max() > 0
    assert torch.allclose(routed + shared, whole, atol=1e-9)


def test_a_shared_expert_beside_the_experts_is_a_part_of_its_own():
    sites = discovered(tiny("granitemoeshared")).sites
    assert sites["layers.0.mlp.routed.out"].tap.module == "model.layers.0.block_sparse_moe"
    assert sites["layers.0.mlp.shared.out"].tap.module == "model.layers.0.shared_mlp"
    assert "the sum of several modules" in sites["layers.0.mlp.out"].problem


def test_a_shared_expert_behind_a_gate_is_refused():
    sites = discovered(tiny("qwen2_moe")).sites
    assert "with a number of its own for each token" in sites["layers.0.mlp.shared.out"].problem


class Reread(nn.Module):
    """Blocks whose last one reads the embeddings once more."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.again = nn.Linear(16, 16)
        self.out = nn.Linear(16, VOCABULARY)

    def forward(self, input_ids):
        embedded = hidden = self.embedding(input_ids)
        for block in self.blocks:
            hidden = block(hidden)
        return self.out(hidden + self.again(embedded))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(16), nn.Sequential(nn.Linear(16, 16), nn.Tanh())

    def forward(self, x):
        return x + self.mlp(self.norm(x))


def test_a_stream_that_is_read_elsewhere_is_tapped_where_it_is_given():
    torch.manual_seed(0)
    model = Reread().double()
    subject = subject_from_module(model, WordTokenizer())
    assert subject.sites["layers.0.resid.pre"].tap.module == "embedding"
    assert subject.wiring is None
    batch = batch_of((0,))
    found = record(subject, batch, [subject.sites["embed.out"]]).gradients["embed.out"][0]
    kept = []
    model.embedding.register_forward_hook(lambda *passed: kept.append(passed[2]))
    logits = model(batch.input_ids)[0]
    loss = nn.functional.cross_entropy(logits[:-1], batch.input_ids[0, 1:])
    (expected,) = torch.autograd.grad(loss, kept)
    assert torch.allclose(found, expected[0], atol=1e-12)


def test_what_no_module_gives_and_others_read_is_refused():
    class Scaled(Reread):
        def forward(self, input_ids):
            embedded = hidden = self.embedding(input_ids) * 2
            for block in self.blocks:
                hidden = block(hidden)
            return self.out(hidden + self.again(embedded))

    torch.manual_seed(0)
    subject = subject_from_module(Scaled(), WordTokenizer())
    with pytest.raises(UnsupportedSiteError, match=r"other modules than blocks\.0 read it, too"):
        record(subject, batch_of(), [subject.sites["embed.out"]])
    assert subject.wiring is None
