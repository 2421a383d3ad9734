"""Second derivatives by probes against dense Hessians of autograd, in float64."""

from contextlib import suppress
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.autograd.functional import hessian

from backlight.capture.curvature import record_curvature, signs
from backlight.capture.record import record
from backlight.capture.splice import splicing
from backlight.data.batches import Batch, Passages
from backlight.errors import ConfigError, ModelError
from backlight.models.modules import subject_from_module
from backlight.models.taps import per_token, tapping
from backlight.objectives.objective import LossGradient, NextToken
from zoo.models import CONFIGS
from zoo.subjects import batch_of, passages_of, subject_of, tappable
from zoo.tokenizers import WordTokenizer

SITES = ("layers.0.resid.pre", "layers.1.attn.q", "layers.1.attn.z", "layers.1.mlp.out")
LAST = "final_norm.out"


def basis(batch, _, width):
    """Each unit vector of a passage as a probe: what it finds is one entry, exactly."""
    _, positions = batch.input_ids.shape
    for place in range(positions * width):
        probe = torch.zeros(positions * width, dtype=torch.float64)
        probe[place] = 1
        yield probe.view(1, positions, width)


def dense_diagonal(subject, batch, site):
    """The diagonal of autograd's Hessian of the plain loss in a variable added to the tensor."""
    subject.model.config._attn_implementation = "eager"  # attention written out

    shapes = []

    def loss(added):
        def add(_, tensor):
            shapes.append(tensor.shape)
            return tensor + added.view_as(tensor)

        with tapping(subject, [site], add):
            return subject.model(
                input_ids=batch.input_ids, labels=batch.input_ids, use_cache=False
            ).loss

    positions = batch.input_ids.shape[1]
    dense = hessian(loss, torch.zeros(positions * site.width, dtype=torch.float64))
    diagonal = dense.diagonal().view(shapes[0]) * site.tap.multiplier**-2
    return per_token(site, diagonal, batch.input_ids.shape)


def short(length=3):
    return Batch.of(passages_of((length,)), (0,))


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
@pytest.mark.parametrize("site", [*SITES, LAST])
def test_a_basis_probe_finds_exactly_the_entry_of_the_dense_hessian(name, site):
    subject, batch = subject_of(name, torch.float64), short()
    site = subject.sites[site]

    found = record_curvature(subject, batch, [site], probes=basis).curvatures[site.name]

    entries = found.diagonal * len(found.by_probe)
    expected = dense_diagonal(subject, batch, site)
    assert expected.abs().max() > 0
    # The loss of Transformers, and most norms, are in float32 inside.
    assert (entries - expected).abs().max() <= 1e-5 * expected.abs().max()
    sums = found.by_probe.sum(dim=0)
    torch.testing.assert_close(sums, entries.sum(dim=1), rtol=1e-9, atol=1e-15)


def test_random_probes_find_the_dense_hessian_within_their_errors():
    subject, batch = subject_of("gpt2", torch.float64), short(4)
    site = subject.sites["layers.1.mlp.out"]

    probes = partial(signs, num_probes=400, seed=0)
    found = record_curvature(subject, batch, [site], probes=probes).curvatures[site.name]

    expected = dense_diagonal(subject, batch, site).sum(dim=1)[0]
    errors = found.by_probe.std(dim=0)[0] / 400**0.5
    distances = (found.by_probe.mean(dim=0)[0] - expected) / errors
    assert distances.abs().max() < 4.5
    assert 0.7 < distances.square().mean() < 1.4
    # They are not just wide: most entries can be told from zero.
    assert (expected.abs() > 2 * errors).double().mean() > 0.5


class Mixing(nn.Module):
    """A causal model with few numbers: each token's logits hang on products of all before it."""

    def __init__(self, width=2):
        super().__init__()
        self.embed, self.out = nn.Embedding(26, width), nn.Linear(width, 26)

    def forward(self, tokens):
        mixed = self.embed(tokens).cumsum(dim=1)
        return self.out(torch.tanh(mixed) * mixed.roll(1, dims=-1))


def mixing_subject():
    return subject_from_module(Mixing().double(), WordTokenizer(), name="mixing")


def letters(*lengths):
    random = np.random.default_rng(0)
    return Passages(tokens=[random.integers(0, 26, length) for length in lengths])


def test_all_sign_vectors_together_find_the_hessian_s_diagonal_exactly():
    subject, batch = mixing_subject(), Batch.of(letters(4), (0,))
    site = subject.sites["embed"]

    def everything(batch, site, width):
        for each in product((-1.0, 1.0), repeat=4 * width):
            yield torch.tensor(each).view(1, 4, width)

    every = record_curvature(subject, batch, [site], probes=everything).curvatures["embed"]
    entries = record_curvature(subject, batch, [site], probes=basis).curvatures["embed"]

    assert len(every.by_probe) == 2**8
    assert every.by_probe.std(dim=0).min() > 0  # a single probe would not do
    torch.testing.assert_close(every.diagonal, entries.diagonal * 8, rtol=1e-10, atol=1e-14)


class Quadratic:
    """Half of the sum of squares of all logits, each with a weight: its Hessian is diagonal."""

    weights = torch.arange(1.0, 27.0, dtype=torch.float64)

    def __call__(self, output, batch, _):
        gradient = output.detach() * self.weights * batch.valid[..., None]
        value = (gradient * output.detach()).sum(dim=(1, 2)) / 2
        return LossGradient(nats=value, value=value, gradient=gradient)

    def curvature(self, _, batch, __, direction):
        return direction * self.weights * batch.valid[..., None]


def test_one_random_probe_is_exact_where_the_hessian_is_diagonal():
    subject, batch = mixing_subject(), Batch.of(letters(5, 3), (0, 1))
    site = subject.sites["out"]

    probes = partial(signs, num_probes=1, seed=0)
    tape = record_curvature(subject, batch, [site], probes=probes, objective=Quadratic())

    expected = Quadratic.weights * batch.valid[..., None]
    torch.testing.assert_close(tape.curvatures["out"].diagonal, expected, rtol=0, atol=0)


def test_a_quadratic_of_a_linear_map_has_the_hessian_w_a_w():
    model = nn.Sequential(nn.Embedding(26, 3), nn.Linear(3, 26)).double()
    subject = subject_from_module(model, WordTokenizer(), name="linear")
    batch = Batch.of(letters(4), (0,))

    found = record_curvature(
        subject, batch, [subject.sites["0"]], probes=basis, objective=Quadratic()
    ).curvatures["0"]

    weight = model[1].weight.detach()
    expected = torch.einsum("v,vi,vi->i", Quadratic.weights, weight, weight).expand(1, 4, 3)
    torch.testing.assert_close(found.diagonal * 12, expected, rtol=1e-12, atol=1e-12)


def test_products_are_central_differences_of_the_gradient_along_the_probe():
    subject, batch = subject_of("gpt2", torch.float64), batch_of()
    site = subject.sites["layers.1.attn.out"]
    (probe,) = signs(batch, site, 32, num_probes=1, seed=3)
    at = record(subject, batch, [site], keep_activations=True).activations[site.name]

    def gradient(step):
        with splicing(subject, {site.name: at + step * probe}):
            return record(subject, batch, [site]).gradients[site.name]

    found = record_curvature(subject, batch, [site], probes=partial(signs, num_probes=1, seed=3))

    expected = probe * (gradient(1e-4) - gradient(-1e-4)) / 2e-4
    curvature = found.curvatures[site.name]
    assert (curvature.diagonal - expected).abs().max() <= 1e-6 * expected.abs().max()
    torch.testing.assert_close(curvature.by_probe[0], curvature.diagonal.sum(dim=1))


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "bloom"])
def test_value_and_gradients_are_those_of_the_plain_pass_on_every_wiring(name):
    """Attention in plain steps changes nothing but the last bits, and every wiring has an order."""
    subject, batch = subject_of(name, torch.float64), batch_of()
    sites = tappable(subject)

    found = record_curvature(subject, batch, sites, probes=partial(signs, num_probes=1, seed=0))

    plain = record(subject, batch, sites)
    torch.testing.assert_close(found.value, plain.value, rtol=1e-12, atol=0)
    for site in sites:
        known = plain.gradients[site.name]
        assert (found.gradients[site.name] - known).abs().max() <= 1e-12 * known.abs().max()
        diagonal = found.curvatures[site.name].diagonal
        assert diagonal.abs().max() > 0, site.name
        assert (diagonal[~batch.valid] == 0).all()


def test_a_passage_s_estimate_does_not_depend_on_its_company_nor_on_other_sites():
    subject = subject_of("llama", torch.float64)
    site, other = subject.sites["layers.1.mlp.out"], subject.sites["layers.0.attn.out"]
    probes = partial(signs, num_probes=2, seed=5)

    both = record_curvature(subject, batch_of((0, 1)), [other, site], probes=probes)
    alone = record_curvature(subject, batch_of((0,)), [site], probes=probes)

    expected = both.curvatures[site.name]
    length = int(alone.batch.lengths[0])
    found = alone.curvatures[site.name]
    torch.testing.assert_close(
        found.diagonal[0], expected.diagonal[0, :length], rtol=1e-6, atol=1e-10
    )
    torch.testing.assert_close(found.by_probe[:, 0], expected.by_probe[:, 0], rtol=1e-6, atol=1e-9)


def test_signs_are_ones_of_both_kinds_and_depend_on_seed_site_and_passage():
    batch, sites = batch_of(), subject_of().sites
    one, other = sites["layers.0.mlp.out"], sites["layers.1.mlp.out"]

    probes = torch.stack(list(signs(batch, one, 32, num_probes=50, seed=0)))

    assert (probes.abs() == batch.valid[None, ..., None]).all()
    assert abs(float(probes[:, batch.valid].double().mean())) < 0.02
    drawn = {
        (seed, site.name): next(signs(batch, site, 32, num_probes=1, seed=seed))
        for seed in (0, 1)
        for site in (one, other)
    }
    assert torch.equal(drawn[0, one.name], probes[0])
    first = [tensor[row, :2].flatten().tolist() for tensor in drawn.values() for row in range(3)]
    assert len({tuple(row) for row in first}) == len(first)


@pytest.mark.parametrize("fails", [False, True])
def test_attention_kernels_are_allowed_again_afterwards(fails):
    subject = subject_of()
    before = kernels()

    def probes(batch, site, width):
        assert kernels() == (False, False, True)
        if fails:
            raise KeyboardInterrupt
        yield from signs(batch, site, width, num_probes=1, seed=0)

    with suppress(KeyboardInterrupt):
        record_curvature(subject, batch_of(), [subject.sites["layers.0.mlp.out"]], probes=probes)

    assert kernels() == before != (False, False, True)


def kernels():
    backends = torch.backends.cuda
    return (
        backends.flash_sdp_enabled(),
        backends.mem_efficient_sdp_enabled(),
        backends.math_sdp_enabled(),
    )


def test_an_objective_without_a_second_order_is_refused():
    class FirstOrder:
        def __call__(self, output, batch, head):
            return NextToken()(output, batch, head)

    subject, batch = mixing_subject(), Batch.of(letters(4), (0,))
    sites = [subject.sites["embed"]]

    with pytest.raises(ConfigError, match="second derivative of FirstOrder is not known"):
        record_curvature(subject, batch, sites, probes=basis, objective=FirstOrder())


def test_of_a_linear_objective_of_a_linear_map_all_second_derivatives_are_exactly_zero():
    class Linear:
        def __call__(self, output, batch, _):
            gradient = torch.ones_like(output) * batch.valid[..., None]
            value = output.detach().sum(dim=(1, 2))
            return LossGradient(nats=value, value=value, gradient=gradient)

        def curvature(self, output, *_):
            return torch.zeros_like(output)

    model = nn.Sequential(nn.Embedding(26, 3), nn.Linear(3, 26)).double()
    subject = subject_from_module(model, WordTokenizer())
    batch, sites = Batch.of(letters(4), (0,)), [subject.sites["0"]]

    tape = record_curvature(subject, batch, sites, probes=basis, objective=Linear())

    assert (tape.gradients["0"] != 0).all()
    assert (tape.curvatures["0"].diagonal == 0).all()


class _Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


def test_a_step_that_may_not_be_differentiated_twice_is_refused_also_beside_others():
    """Autograd itself would leave out its part without a word, as there is a way around it."""

    class Beside(nn.Module):
        def forward(self, x):
            return x + _Square.apply(x)

    model = nn.Sequential(nn.Embedding(26, 3), Beside(), nn.Linear(3, 26)).double()
    subject = subject_from_module(model, WordTokenizer(), name="kernel")
    batch, sites = Batch.of(letters(4), (0,)), [subject.sites["0"]]

    with pytest.raises(ModelError, match="kernel goes back through '_SquareBackward', a step that"):
        record_curvature(subject, batch, sites, probes=basis)


def test_bloom_s_own_activation_is_such_a_step():
    subject = subject_of("bloom")

    with pytest.raises(ModelError, match="bloom goes back through 'GeLUFunctionBackward'"):
        record_curvature(subject, batch_of(), [subject.sites["layers.0.mlp.out"]], probes=basis)
