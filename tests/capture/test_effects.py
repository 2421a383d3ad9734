"""What a change does to a batch's objective, against a plain hook script and the whole pass."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from backlight.capture.effects import keep_streams, value_with
from backlight.capture.record import record, record_activations
from backlight.errors import NonFiniteError, UnsupportedSiteError
from backlight.models.blocks.rerun import Blocks
from backlight.models.modules import subject_from_module
from backlight.models.sites import layer_of
from backlight.objectives.objective import NextToken
from zoo.subjects import batch_of, subject_of, tappable
from zoo.tokenizers import WordTokenizer

OBJECTIVE = NextToken()
ATTENTION = ("query", "key", "value")
FAMILIES = (
    "llama",
    "gpt2",
    "gpt_neox",  # parallel
    "gemma2",  # norms behind
    "granite",  # residual multipliers
    "bloom",  # adds in place
    "opt post-norm",
    "cohere",
    "falcon parallel",
    "mixtral",
)


def plain_values(subject, batch, module, output_of):
    """Run the model with one forward hook on a module, without any of our code."""

    def hook(module, inputs, output):
        if isinstance(output, tuple):
            return (output_of(output[0]), *output[1:])
        return output_of(output)

    handle = subject.model.get_submodule(module).register_forward_hook(hook)
    with torch.no_grad():
        logits = subject.model(input_ids=batch.input_ids, use_cache=False).logits
    handle.remove()
    pairs = zip(logits, batch.input_ids, batch.lengths.tolist(), strict=True)
    return torch.stack(
        [cross_entropy(row[: end - 1].double(), ids[1:end]) for row, ids, end in pairs]
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_batch_in_which_nothing_is_replaced_has_the_recorded_value(name):
    subject, batch = subject_of(name), batch_of()
    site = subject.sites["layers.0.resid.pre"]

    assert torch.equal(
        value_with(subject, batch, OBJECTIVE, {}), record(subject, batch, [site]).value
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_tensor_replaced_by_itself_changes_nothing_wherever_it_is(name):
    subject, batch = subject_of(name), batch_of()
    sites = [site for site in tappable(subject) if site.tap.side not in ATTENTION]
    kept = record_activations(subject, batch, sites).activations
    blocks, streams = Blocks.of(subject), keep_streams(subject, batch, range(subject.num_layers))
    expected = value_with(subject, batch, OBJECTIVE, {})

    for site in sites:
        layer, own = layer_of(site.name), {site.name: kept[site.name]}
        found = [value_with(subject, batch, OBJECTIVE, own)]
        if layer is not None:
            begun = {"blocks": blocks, "layer": layer, "stream": streams[layer]}
            found.append(value_with(subject, batch, OBJECTIVE, own, **begun))
        # A multiplier is divided out and multiplied in again, which costs a last bit.
        exact = site.tap.multiplier == 1.0
        for value in found:
            assert torch.allclose(value, expected, rtol=0, atol=0 if exact else 1e-6), site.name


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_sum", "batch_mean"])
@pytest.mark.parametrize("name", FAMILIES)
def test_entering_at_the_changed_layer_gives_the_value_of_the_whole_pass(name, reduction):
    subject, batch, objective = subject_of(name), batch_of(), NextToken(reduction)
    blocks, streams = Blocks.of(subject), keep_streams(subject, batch, [1, 2])
    clean = value_with(subject, batch, objective, {})

    for layer in (1, 2):
        site = subject.sites[f"layers.{layer}.mlp.contribution"]
        kept = record_activations(subject, batch, [site]).activations[site.name]
        zero = {site.name: torch.zeros_like(kept)}
        whole = value_with(subject, batch, objective, zero)
        for first in range(1, layer + 1):
            begun = {"blocks": blocks, "layer": first, "stream": streams[first]}
            assert torch.equal(value_with(subject, batch, objective, zero, **begun), whole)
        assert (whole != clean).all()


_SCRIPTS = [
    ("llama", "layers.1.mlp.out", "model.layers.1.mlp"),
    ("gpt2", "layers.0.attn.out", "transformer.h.0.attn"),
    ("gpt2", "layers.2.mlp.out", "transformer.h.2.mlp"),
    ("gpt_neox", "layers.1.mlp.out", "gpt_neox.layers.1.mlp"),  # parallel blocks
]


@pytest.mark.parametrize(("name", "site", "module"), _SCRIPTS)
def test_true_changes_are_those_of_a_plain_script_with_a_hook(name, site, module):
    subject, batch = subject_of(name, torch.float64), batch_of()
    kept = record_activations(subject, batch, [subject.sites[site]]).activations[site]
    without = kept.clone()
    without[..., 3] = 0
    layer = layer_of(site)
    streams = keep_streams(subject, batch, [layer])

    found = value_with(
        subject,
        batch,
        OBJECTIVE,
        {site: without},
        blocks=Blocks.of(subject),
        layer=layer,
        stream=streams[layer],
    )

    def lesioned(output):
        output = output.clone()
        output[..., 3] = 0
        return output

    torch.testing.assert_close(
        found, plain_values(subject, batch, module, lesioned), rtol=0, atol=1e-12
    )


def test_a_model_without_known_blocks_is_run_whole():
    model = nn.Sequential(nn.Embedding(99, 8), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 99))
    subject, batch = subject_from_module(model, WordTokenizer()), batch_of()
    kept = record_activations(subject, batch, [subject.sites["1"]]).activations["1"]

    found = value_with(subject, batch, OBJECTIVE, {"1": 2 * kept})

    with torch.no_grad():
        logits = model[3](model[2](2 * model[1](model[0](batch.input_ids))))
    pairs = zip(logits, batch.input_ids, batch.lengths.tolist(), strict=True)
    expected = [cross_entropy(row[: end - 1], ids[1:end]) for row, ids, end in pairs]
    torch.testing.assert_close(found, torch.stack(expected).double())
    with pytest.raises(UnsupportedSiteError, match=r"no layers\.1\.resid\.pre, .* run whole"):
        keep_streams(subject, batch, [1])


def test_an_effect_costs_no_gradient_and_no_layer_before_the_change(monkeypatch):
    subject, batch = subject_of("llama"), batch_of()
    streams, blocks = keep_streams(subject, batch, [2]), Blocks.of(subject)
    kept = {"layers.2.mlp.out": torch.zeros(3, 14, 32)}
    calls = []
    for block in blocks.modules:
        block.mlp.register_forward_hook(lambda module, *_: calls.append(module))
    monkeypatch.setattr(NextToken, "__call__", None)  # the way to the gradient

    value = value_with(subject, batch, OBJECTIVE, kept, blocks=blocks, layer=2, stream=streams[2])

    assert calls == [blocks.modules[2].mlp]
    assert not value.requires_grad


def test_a_value_that_is_no_number_names_the_passage_and_the_site():
    subject, batch = subject_of("llama"), batch_of()
    broken = torch.zeros(3, 14, 32)
    broken[1, 0] = torch.nan

    with pytest.raises(
        NonFiniteError, match=r"passage 1 with other tensors at layers\.1\.mlp\.out is nan"
    ):
        value_with(subject, batch, OBJECTIVE, {"layers.1.mlp.out": broken})


def test_a_site_before_the_first_block_that_runs_is_our_own_mistake():
    subject, batch = subject_of("llama"), batch_of()
    streams = keep_streams(subject, batch, [2])

    with pytest.raises(AssertionError, match="left out"):
        value_with(
            subject,
            batch,
            OBJECTIVE,
            {"layers.1.mlp.out": torch.zeros(3, 14, 32)},
            blocks=Blocks.of(subject),
            layer=2,
            stream=streams[2],
        )
    with pytest.raises(UnsupportedSiteError, match=r"attn\.q cannot be replaced"):
        value_with(subject, batch, OBJECTIVE, {"layers.1.attn.q": torch.zeros(3, 14, 32)})
