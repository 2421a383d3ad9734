"""Gradients along a path, against dense loops of plain autograd, and where they must be exact."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from backlight.capture.effects import value_with
from backlight.capture.path import gauss_legendre, num_passes, record_path
from backlight.capture.record import record
from backlight.errors import UnsupportedSiteError
from backlight.models.blocks.rerun import Blocks
from backlight.models.modules import subject_from_module
from backlight.objectives.objective import LossGradient, NextToken
from zoo.oracles import relative_error
from zoo.subjects import batch_of, subject_of
from zoo.tokenizers import WordTokenizer

OBJECTIVE = NextToken()


class OfLogits:
    """A function of the logits as an objective, by autograd: no head, no cross-entropy."""

    def __init__(self, function):
        self._function = function

    def value(self, output, batch, head):
        assert head is None
        assert len(output) == len(batch.lengths)
        return self._function(output).double()

    def __call__(self, output, batch, head):
        leaf = output.detach().requires_grad_()
        with torch.enable_grad():
            value = self.value(leaf, batch, head)
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return LossGradient(nats=value.detach(), value=value.detach(), gradient=gradient)


def linear_model():
    model = nn.Sequential(nn.Embedding(99, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 99))
    return subject_from_module(model.double(), WordTokenizer())


def plain_gradient(subject, batch, module, values, *, logits_of):
    """Take the gradient with a leaf in a module's place, by one hook and plain autograd."""
    leaf = values.clone().requires_grad_()

    def hook(module, inputs, output):
        return (leaf, *output[1:]) if isinstance(output, tuple) else leaf

    handle = subject.model.get_submodule(module).register_forward_hook(hook)
    logits = logits_of(batch.input_ids)
    handle.remove()
    pairs = zip(logits, batch.input_ids, batch.lengths.tolist(), strict=True)
    loss = sum(cross_entropy(row[: end - 1], ids[1:end]) for row, ids, end in pairs)
    return torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize("num_nodes", [1, 2, 5])
def test_on_a_linear_model_path_and_first_order_and_truth_are_one(num_nodes):
    subject, batch = linear_model(), batch_of()
    weights = torch.randn(14, 99, dtype=torch.float64)
    objective = OfLogits(lambda output: (output * weights).sum(dim=(1, 2)))
    sites = [subject.sites[name] for name in ("0", "1", "2")]

    tape = record_path(subject, batch, sites, num_nodes=num_nodes, objective=objective)
    plain = record(subject, batch, sites, objective=objective, keep_activations=True)

    for site in sites:
        change = tape.changes[site.name]
        torch.testing.assert_close(
            tape.gradients[site.name], plain.gradients[site.name], rtol=0, atol=1e-10
        )
        torch.testing.assert_close(change.first_order, change.true, rtol=0, atol=1e-10)
        torch.testing.assert_close(change.path, change.true, rtol=0, atol=1e-10)
        zero = {site.name: torch.zeros_like(plain.activations[site.name])}
        true = value_with(subject, batch, objective, zero) - plain.value
        torch.testing.assert_close(change.true, true, rtol=0, atol=0)
        assert (change.true.abs() > 1e-3).all()


@pytest.mark.parametrize(("degree", "num_nodes"), [(2, 1), (2, 2), (4, 2), (6, 3)])
def test_a_polynomial_is_divided_without_a_residual(degree, num_nodes):
    subject, batch = linear_model(), batch_of()
    objective = OfLogits(lambda output: (output**degree).sum(dim=(1, 2)) / 100)
    site = subject.sites["1"]

    change = record_path(subject, batch, [site], num_nodes=num_nodes, objective=objective).changes[
        "1"
    ]

    torch.testing.assert_close(change.path, change.true, rtol=1e-10, atol=0)
    assert ((change.first_order - change.true).abs() > 0.1 * change.true.abs()).all()


def test_a_polynomial_of_a_higher_degree_leaves_a_residual():
    subject, batch = linear_model(), batch_of()
    objective = OfLogits(lambda output: (output**4).sum(dim=(1, 2)))

    change = record_path(
        subject, batch, [subject.sites["1"]], num_nodes=1, objective=objective
    ).changes["1"]

    assert ((change.path - change.true).abs() > 1e-3 * change.true.abs()).all()


_PLACES = [
    ("llama", "layers.0.mlp.out", "model.layers.0.mlp"),
    ("llama", "layers.1.attn.out", "model.layers.1.self_attn"),
    ("gpt2", "layers.1.mlp.out", "transformer.h.1.mlp"),
    ("gpt_neox", "layers.2.attn.out", "gpt_neox.layers.2.attention"),
    ("gemma2", "layers.1.mlp.contribution", "model.layers.1.post_feedforward_layernorm"),
]


@pytest.mark.parametrize("num_nodes", [1, 4])
@pytest.mark.parametrize("whole", [False, True], ids=["from its layer", "whole"])
@pytest.mark.parametrize(("name", "site", "module"), _PLACES)
def test_a_path_is_a_dense_loop_of_plain_autograd(name, site, module, whole, num_nodes):
    subject, batch = subject_of(name, torch.float64), batch_of()
    place = subject.sites[site]

    tape = record_path(
        subject,
        batch,
        [place],
        num_nodes=num_nodes,
        objective=OBJECTIVE,
        blocks=None if whole else Blocks.of(subject),
    )

    def logits_of(tokens):
        return subject.model(input_ids=tokens, use_cache=False).logits

    x = tape.activations[site]
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    expected = sum(
        weight / 2 * plain_gradient(subject, batch, module, (node + 1) / 2 * x, logits_of=logits_of)
        for node, weight in zip(nodes, weights, strict=True)
    )
    assert relative_error(tape.gradients[site], expected) <= 1e-6
    path = -(expected * x).sum(dim=(1, 2))
    torch.testing.assert_close(tape.changes[site].path, path, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "granite", "opt post-norm"])
def test_the_residual_shrinks_with_the_nodes_at_every_kind_of_site(name):
    subject, batch = subject_of(name, torch.float64), batch_of()
    kinds = ("norm1.out", "attn.z", "attn.out", "mlp.in", "mlp.out", "mlp.contribution")
    names = [f"layers.{layer}.{kind}" for layer in (0, 2) for kind in kinds]
    sites = [subject.sites[each] for each in names if each in subject.sites]
    blocks = Blocks.of(subject)

    def residual(num_nodes):
        changes = record_path(
            subject, batch, sites, num_nodes=num_nodes, objective=OBJECTIVE, blocks=blocks
        ).changes.values()
        missing = sum((each.path - each.true).abs().sum() for each in changes)
        return float(missing / sum(each.true.abs().sum() for each in changes))

    few, some, many = residual(1), residual(3), residual(24)

    assert many < some / 2
    assert some < few
    assert many < 0.05


def test_at_an_input_only_the_branch_moves():
    """The stream goes around the norm as it is, and only the norm reads zero."""
    subject, batch = subject_of("llama", torch.float64), batch_of()
    site = subject.sites["layers.1.norm2.in"]

    change = record_path(
        subject,
        batch,
        [site],
        num_nodes=8,
        objective=OBJECTIVE,
        blocks=Blocks.of(subject),
    ).changes[site.name]

    # A norm that reads zero gives zero, so the MLP behind it gives zero too.
    without = {"layers.1.mlp.out": torch.zeros(3, 14, 32, dtype=torch.float64)}
    clean = value_with(subject, batch, OBJECTIVE, {})
    torch.testing.assert_close(
        change.true, value_with(subject, batch, OBJECTIVE, without) - clean, rtol=0, atol=1e-12
    )


def test_the_plain_pass_is_kept_beside_the_path():
    subject, batch = subject_of("gpt2"), batch_of()
    sites = [subject.sites[f"layers.{layer}.attn.z"] for layer in (0, 2)]
    extra = subject.sites["layers.1.resid.post"]
    plain = record(subject, batch, [*sites, extra], keep_activations=True)
    watched = []

    def first(output, batch, head):
        watched.append(len(output))
        return OBJECTIVE(output, batch, head)

    tape = record_path(
        subject,
        batch,
        sites,
        num_nodes=2,
        objective=OBJECTIVE,
        blocks=Blocks.of(subject),
        first=first,
        keep=[extra],
    )

    assert watched == [3]  # the plain pass alone
    assert torch.equal(tape.nats, plain.nats)
    assert torch.equal(tape.value, plain.value)
    assert tape.gradients.keys() == {site.name for site in sites}
    assert tape.activations.keys() == {site.name for site in (*sites, extra)}
    for name, activation in tape.activations.items():
        assert torch.equal(activation, plain.activations[name])
    for site in sites:
        product = -(plain.gradients[site.name] * plain.activations[site.name]).double()
        first_order = tape.changes[site.name].first_order
        torch.testing.assert_close(first_order, product.sum(dim=(1, 2)), rtol=1e-4, atol=1e-7)
        assert not tape.gradients[site.name][~batch.valid].any()


def test_a_passage_has_the_same_path_in_any_company():
    subject, blocks = subject_of("llama", torch.float64), None
    sites, blocks = [subject.sites["layers.1.mlp.out"]], Blocks.of(subject)
    options = {"num_nodes": 3, "objective": OBJECTIVE, "blocks": blocks}
    whole = record_path(subject, batch_of((0, 1, 2)), sites, **options)

    alone = record_path(subject, batch_of((2,)), sites, **options)

    for name in ("first_order", "path", "true"):
        found = getattr(alone.changes["layers.1.mlp.out"], name)
        expected = getattr(whole.changes["layers.1.mlp.out"], name)
        torch.testing.assert_close(found[0], expected[2], rtol=1e-6, atol=1e-10)


def test_queries_have_no_path():
    subject, batch = subject_of("llama"), batch_of()

    with pytest.raises(UnsupportedSiteError, match=r"attn\.q cannot be replaced"):
        record_path(
            subject,
            batch,
            [subject.sites["layers.1.attn.q"]],
            num_nodes=2,
            objective=OBJECTIVE,
        )


def test_nodes_integrate_polynomials_exactly():
    for num_nodes in (1, 2, 4, 7):
        places, weights = zip(*gauss_legendre(num_nodes), strict=True)
        for power in range(2 * num_nodes):
            integral = sum(w * a**power for a, w in zip(places, weights, strict=True))
            assert integral == pytest.approx(1 / (power + 1), rel=1e-12)
        assert all(0 < place < 1 for place in places)


def test_later_layers_and_fewer_nodes_cost_less():
    assert num_passes([0], 30, 1) == pytest.approx(1.0)
    assert num_passes([None, None], 0, 3) == pytest.approx(6.0)
    assert num_passes([15, 0], 30, 4) == pytest.approx(4 * (0.7 + 1.0))


def test_blocks_before_the_site_are_run_once_for_the_whole_path():
    subject, batch = subject_of("llama"), batch_of()
    blocks, calls = Blocks.of(subject), []
    for number, block in enumerate(blocks.modules):
        block.mlp.register_forward_hook(lambda *_, number=number: calls.append(number))

    record_path(
        subject,
        batch,
        [subject.sites["layers.2.mlp.out"]],
        num_nodes=5,
        objective=OBJECTIVE,
        blocks=blocks,
    )

    assert [calls.count(number) for number in range(3)] == [1, 1, 1 + 5 + 1]
