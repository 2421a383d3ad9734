"""The one pass against plain autograd, on every wiring in the table."""

import pytest
import torch
from torch import nn
from torch.autograd.graph import get_gradient_edge

from backlight.capture.record import record, record_activations
from backlight.errors import NonFiniteError, SilentSiteError
from backlight.models.modules import subject_from_module
from backlight.models.sites import Site, Tap
from backlight.models.taps import per_token, tapping
from backlight.objectives.objective import NextToken, token_weights
from zoo.models import CONFIGS
from zoo.oracles import relative_error
from zoo.subjects import batch_of, subject_of, tappable
from zoo.tokenizers import WordTokenizer

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}


def transformers_loss(model, batch, reduction):
    """The loss as Transformers computes it, one unpadded sequence at a time."""
    losses = []
    for row, length in enumerate(batch.lengths.tolist()):
        alone = batch.input_ids[row : row + 1, :length]
        losses.append(model(input_ids=alone, labels=alone, use_cache=False).loss)
    counts = (batch.lengths - 1).tolist()
    if reduction == "sequence_mean":
        return sum(losses)
    total = sum(loss * count for loss, count in zip(losses, counts, strict=True))
    return total if reduction == "token_sum" else total / sum(counts)


def module_gradients(model, batch, paths, reduction="sequence_mean"):
    """Gradients at modules' outputs by plain hooks and autograd, without anything of backlight."""
    model.requires_grad_()  # as everybody runs it
    gradients = {path: [] for path in paths}
    for row, length in enumerate(batch.lengths.tolist()):
        edges, handles = {}, []
        for path in paths:

            def hook(module, inputs, output, path=path, edges=edges):
                output = output[0] if isinstance(output, tuple) else output
                edges[path] = get_gradient_edge(output)

            handles.append(model.get_submodule(path).register_forward_hook(hook))
        alone = batch.input_ids[row : row + 1, :length]
        loss = model(input_ids=alone, labels=alone, use_cache=False).loss
        for handle in handles:
            handle.remove()
        found = torch.autograd.grad(loss, [edges[path] for path in paths])
        for path, gradient in zip(paths, found, strict=True):
            gradients[path].append(gradient.reshape(length, -1))
    model.requires_grad_(False)
    return gradients


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_at_module_outputs_are_those_of_the_plain_transformers_loss(name, dtype):
    subject, batch = subject_of(name, dtype), batch_of()
    kinds = ("mlp.out", "attn.out", "resid.post")
    sites = [site for site in tappable(subject) if site.name.endswith(kinds)]

    tape = record(subject, batch, sites)

    expected = module_gradients(subject.model, batch, [site.tap.module for site in sites])
    for site in sites:
        for row, gradient in enumerate(expected[site.tap.module]):
            found = tape.gradients[site.name][row, : len(gradient)]
            assert relative_error(found, gradient) <= TOLERANCE[dtype], site.name


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_are_those_of_a_zero_added_to_the_tensor(name):
    """At outputs, branches, q, k, v and z, adding a variable to the tensor is the definition."""
    subject, batch = subject_of(name, torch.float64), batch_of()
    single_use = [
        site for site in tappable(subject) if site.tap.side != "input" or "attn.z" in site.name
    ]

    tape = record(subject, batch, single_use)

    for row, length in enumerate(batch.lengths.tolist()):
        zeros = {}

        def add_zero(site, tensor, zeros=zeros):
            zeros[site.name] = torch.zeros_like(tensor, requires_grad=True)
            return tensor + zeros[site.name] / site.tap.multiplier

        alone = batch.input_ids[row : row + 1, :length]
        with torch.enable_grad(), tapping(subject, single_use, add_zero):
            loss = subject.model(input_ids=alone, labels=alone, use_cache=False).loss
        expected = torch.autograd.grad(loss, [zeros[site.name] for site in single_use])
        for site, gradient in zip(single_use, expected, strict=True):
            gradient = per_token(site, gradient, (1, length))[0]
            found = tape.gradients[site.name][row, :length]
            assert relative_error(found, gradient) <= 1e-5, site.name  # float32 inside


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_add_up_along_the_residual_stream(name):
    """What leaves a block's input is what goes around plus what returns through its branches."""
    subject, batch = subject_of(name, torch.float64), batch_of()
    gradients = record(subject, batch, tappable(subject)).gradients

    for layer in range(subject.num_layers):

        def at(kind, layer=layer):
            return gradients[f"layers.{layer}.{kind}"]

        def entry(half, layer=layer):
            norm = {"attn": "norm1.in", "mlp": "norm2.in"}[half]
            exists = f"layers.{layer}.{norm}" in gradients and subject.wiring != "post_norm"
            return at(norm if exists else f"{half}.in")

        torch.testing.assert_close(at("resid.pre"), before(layer, gradients))
        if subject.wiring == "parallel":
            shared = "layers.0.norm2.in" not in gradients
            branches = at("norm1.in") if shared else at("norm1.in") + at("norm2.in")
            torch.testing.assert_close(at("resid.pre"), branches + at("resid.post"))
            for half in ("attn", "mlp"):
                torch.testing.assert_close(at(f"{half}.contribution"), at("resid.post"))
        else:
            is_post = subject.wiring == "post_norm"
            middle = at("norm1.in") if is_post else at("resid.mid")
            after = at("norm2.in") if is_post else at("resid.post")
            torch.testing.assert_close(at("resid.pre"), entry("attn") + middle)
            torch.testing.assert_close(at("resid.mid"), entry("mlp") + after)
            torch.testing.assert_close(at("attn.contribution"), middle)
            torch.testing.assert_close(at("mlp.contribution"), after)


def before(layer, gradients):
    return gradients["embed.out" if layer == 0 else f"layers.{layer - 1}.resid.post"]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_site_alone_has_the_gradient_it_has_among_others(name):
    """The graph starts at the earliest site, wherever that is."""
    subject, batch = subject_of(name, torch.float64), batch_of()
    together = record(subject, batch, tappable(subject)).gradients

    for site in tappable(subject):
        if site.name.startswith(("layers.1.", "embed", "final")):
            alone = record(subject, batch, [site]).gradients[site.name]
            torch.testing.assert_close(alone, together[site.name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("reduction", ["token_sum", "batch_mean"])
def test_other_reductions_are_those_of_the_plain_loss(reduction):
    subject, batch = subject_of("llama", torch.float64), batch_of()
    site = subject.sites["layers.1.mlp.out"]

    tape = record(subject, batch, [site], objective=NextToken(reduction))

    alone = module_gradients(subject.model, batch, [site.tap.module])[site.tap.module]
    weights = token_weights(batch, reduction).split((batch.lengths - 1).tolist())
    for row, gradient in enumerate(alone):
        expected = gradient * weights[row].sum()
        assert relative_error(tape.gradients[site.name][row, : len(gradient)], expected) < 1e-6


@pytest.mark.parametrize("name", ["llama", "mistral", "bloom", "opt", "gpt_oss"])
def test_a_passage_has_the_same_gradient_in_any_company(name):
    subject = subject_of(name)
    sites = [site for site in tappable(subject) if site.name.endswith("mlp.out")]
    together = record(subject, batch_of((1, 3, 0, 2)), sites)

    for row, member in enumerate((1, 3, 0, 2)):
        alone = record(subject, batch_of((member,)), sites)
        for site in sites:
            expected = alone.gradients[site.name][0]
            found = together.gradients[site.name][row]
            assert relative_error(found[: len(expected)], expected) <= 1e-5
            assert (found[len(expected) :] == 0).all()  # pads


@pytest.mark.parametrize("name", CONFIGS)
def test_activations_are_the_models_own_also_where_a_block_adds_in_place(name):
    subject, batch = subject_of(name), batch_of((1,))
    sites = [site for site in tappable(subject) if site.name.endswith(("mlp.out", "attn.out"))]
    expected = {}
    handles = [
        subject.model.get_submodule(site.tap.module).register_forward_hook(
            lambda module, inputs, output, key=site.name: expected.update(
                {key: (output[0] if isinstance(output, tuple) else output).detach().clone()}
            )
        )
        for site in sites
    ]
    subject.forward(batch.input_ids)
    for handle in handles:
        handle.remove()

    with_gradients = record(subject, batch, sites, keep_activations=True)
    without = record_activations(subject, batch, sites)

    for site in sites:
        value = per_token(site, expected[site.name], batch.input_ids.shape)
        torch.testing.assert_close(with_gradients.activations[site.name], value)
        torch.testing.assert_close(without.activations[site.name], value)


def test_activations_are_copied_only_where_they_are_asked_for():
    subject, batch = subject_of("llama"), batch_of()
    sites = [subject.sites[f"layers.1.{name}"] for name in ("norm1.in", "norm1.out", "mlp.out")]

    some = record(subject, batch, sites, keep_activations={"layers.1.norm1.in"})
    every = record(subject, batch, sites, keep_activations=True)

    assert list(some.activations) == ["layers.1.norm1.in"]
    assert torch.equal(
        some.activations["layers.1.norm1.in"], every.activations["layers.1.norm1.in"]
    )
    assert some.gradients.keys() == every.gradients.keys() == every.activations.keys()
    assert not record(subject, batch, sites).activations


def test_parameters_never_get_a_gradient():
    subject = subject_of("llama")

    record(subject, batch_of(), tappable(subject))

    assert all(parameter.grad is None for parameter in subject.model.parameters())


def test_hooks_are_gone_even_if_the_body_fails():
    subject, batch = subject_of("qwen3"), batch_of()
    kernel = subject.model.config._attn_implementation

    def fail(site, tensor):
        if site.name == "layers.2.mlp.out":
            raise RuntimeError("in the middle")
        return tensor

    with (
        pytest.raises(RuntimeError, match="in the middle"),
        tapping(subject, tappable(subject), fail),
    ):
        subject.forward(batch.input_ids)

    for module in subject.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert subject.model.config._attn_implementation == kernel


def forgets_hooks(subject):
    return not any(
        module._forward_hooks or module._forward_pre_hooks for module in subject.model.modules()
    )


@pytest.mark.parametrize("name", ["llama", "gpt2", "falcon parallel", "bloom"])
def test_nothing_above_the_last_site_is_computed_for_activations(name):
    subject, batch = subject_of(name), batch_of()
    sites = [subject.sites[f"layers.{layer}.mlp.out"] for layer in (1, 0)]
    above, called = subject.sites["layers.2.mlp.out"].tap.module, []
    handle = subject.model.get_submodule(above).register_forward_hook(
        lambda module, inputs, output: called.append(module)
    )

    tape = record_activations(subject, batch, sites)

    assert not called
    handle.remove()
    assert forgets_hooks(subject)
    whole = record_activations(subject, batch, tappable(subject))
    for site in sites:
        assert torch.equal(tape.activations[site.name], whole.activations[site.name])


@pytest.mark.parametrize("site", ["layers.0.attn.q", "layers.0.attn.in", "layers.0.resid.pre"])
def test_hooks_are_gone_after_a_pass_that_ended_early(site):
    subject, batch = subject_of("qwen3"), batch_of()
    kernel, hidden = subject.model.config._attn_implementation, subject.forward(batch.input_ids)

    record_activations(subject, batch, [subject.sites[site]])

    assert forgets_hooks(subject)
    assert subject.model.config._attn_implementation == kernel
    assert torch.equal(subject.forward(batch.input_ids), hidden)


def test_an_error_in_the_model_still_comes_through_when_activations_are_recorded():
    subject, batch = subject_of("llama"), batch_of()

    def fail(module, inputs):
        raise RuntimeError("in the middle")

    subject.model.model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        record_activations(subject, batch, [subject.sites["layers.2.mlp.out"]])


def test_a_loss_that_is_not_finite_names_the_passage_and_where_it_began():
    subject = subject_of("llama")
    with torch.no_grad():
        subject.model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")

    with pytest.raises(NonFiniteError, match=r"passage 1 is nan: .* is layers.1.mlp.out"):
        record(subject, batch_of((1, 0)), [subject.sites["layers.0.mlp.out"]])


class SideRoom(nn.Module):
    """A language model with a module whose output is not used."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(99, 8)
        self.used = nn.Linear(8, 8)
        self.unused = nn.Linear(8, 8)
        self.out = nn.Linear(8, 99)

    def forward(self, input_ids):
        hidden = self.used(self.embedding(input_ids))
        self.unused(hidden)
        return self.out(hidden)


def test_a_site_without_influence_on_the_loss_is_an_error_not_a_zero():
    subject = subject_from_module(SideRoom(), WordTokenizer())

    with pytest.raises(SilentSiteError, match="The loss does not depend on unused"):
        record(subject, batch_of(), [subject.sites["used"], subject.sites["unused"]])


class HandedOn(nn.Module):
    """A language model whose branch begins with an identity, as in TransformerLens."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(99, 8)
        self.branch_in = nn.Identity()
        self.inner, self.out = nn.Linear(8, 8), nn.Linear(8, 99)

    def forward(self, input_ids):
        hidden = self.embedding(input_ids)
        return self.out(hidden + self.inner(self.branch_in(input=hidden)))


@pytest.mark.parametrize("asked", [["branch_in"], ["embedding", "branch_in"]])
def test_what_a_module_only_hands_on_has_the_gradient_of_its_output_alone(asked):
    model = HandedOn()
    subject, batch = subject_from_module(model, WordTokenizer()), batch_of((1,))

    found = record(subject, batch, [subject.sites[name] for name in asked])

    hidden = model.embedding(batch.input_ids).detach()
    branch = hidden.clone().requires_grad_()
    logits = model.out(hidden + model.inner(branch))
    loss = nn.functional.cross_entropy(logits[0, :-1], batch.input_ids[0, 1:])
    (expected,) = torch.autograd.grad(loss, branch)
    torch.testing.assert_close(found.gradients["branch_in"], expected)


def test_any_module_gets_the_gradients_of_its_own_loss():
    model = SideRoom()
    subject, batch = subject_from_module(model, WordTokenizer()), batch_of((1,))
    site = Site(name="used", tap=Tap(module="used", side="output"), width=8)

    found = record(subject, batch, [site]).gradients["used"]

    hidden = model.used(model.embedding(batch.input_ids)).detach().requires_grad_()
    loss = nn.functional.cross_entropy(model.out(hidden)[0, :-1], batch.input_ids[0, 1:])
    torch.testing.assert_close(found, torch.autograd.grad(loss, hidden)[0])
