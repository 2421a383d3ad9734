"""A network's norms, taken apart: beside hooks written by hand, on the same batch."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from backlight.data.characters import characters_of
from backlight.labs.characters.learning import Lesson, make_network
from backlight.labs.characters.norm_parts import find_norms, take_norms_apart
from backlight.labs.frame.options import CharacterOptions

TEXT = characters_of("the quick brown fox jumps over the lazy dog. " * 40)
CONFIG = CharacterOptions(block_size=16, batch_size=4, n_layer=2, n_head=2, n_embd=24)


def network(method="fa", **options):
    model = make_network(CONFIG, TEXT, 5, method=method, **options).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for norm in find_norms(model).values():
            norm.weight += 0.3 * torch.randn(24, generator=generator).double()
    return model


def batch():
    return Lesson(CONFIG, TEXT, 3, torch.device("cpu")).draw()


def by_hooks(model, rows, *, without_gain):
    """Keep each norm's input and the gradient at its output, and write the formulas out."""
    kept, handles = {}, []

    def keep(path):
        def hook(module, inputs, output):
            output.retain_grad()
            kept[path] = (module, inputs[0].detach(), output)

        return hook

    for path, norm in find_norms(model).items():
        handles.append(norm.register_forward_hook(keep(path)))
    model.train().requires_grad_(True)
    model(*rows)[1].backward()
    for handle in handles:
        handle.remove()
    columns = {}
    for norm, x, output in kept.values():
        g = output.grad if without_gain else output.grad * norm.weight.detach()
        xc = x - x.mean(-1, keepdim=True)
        sigma = ((xc * xc).mean(-1, keepdim=True) + 1e-5).sqrt()
        z = xc / sigma
        g_mean, gz_mean = g.mean(-1, keepdim=True), (g * z).mean(-1, keepdim=True)
        true, center = (g - g_mean - z * gz_mean) / sigma, (g - g_mean) / sigma
        whole = (g * g).sum(-1).mean()
        row = {
            "r_mean": (g_mean.expand_as(g) ** 2).sum(-1).mean() / whole,
            "r_radial": ((z * gz_mean) ** 2).sum(-1).mean() / whole,
            "sigma_mean": sigma.mean(),
            "sigma_std": sigma.std(correction=0),
            "cosine_center_scale": cosine_similarity(center, true, dim=-1).mean(),
            "cosine_identity": cosine_similarity(g, true, dim=-1).mean(),
            "cosine_center_scale_to_identity": cosine_similarity(center, g, dim=-1).mean(),
            "length_center_scale": ((center**2).sum() / (true**2).sum()).sqrt(),
            "length_identity": ((g**2).sum() / (true**2).sum()).sqrt(),
        }
        for name, value in row.items():
            columns.setdefault(name, []).append(value.item())
    return columns


@pytest.mark.parametrize("without_gain", [False, True])
@pytest.mark.parametrize("attention", ["softmax", "sigmoid"])
@pytest.mark.parametrize("method", ["bp", "fa"])
def test_parts_are_those_that_hooks_give(method, attention, without_gain):
    rows = batch()
    expected = by_hooks(network(method, attn_mode=attention), rows, without_gain=without_gain)
    model = network(method, attn_mode=attention)
    found = take_norms_apart(model, rows, without_gain=without_gain)
    for name, column in expected.items():
        assert found[name] == pytest.approx(column, rel=1e-9), name


def test_with_its_gain_the_rest_is_what_autograd_leaves_at_the_norms_input():
    norm = find_norms(network("bp"))["transformer.ln_f"]
    assert isinstance(norm, nn.LayerNorm)
    rows = batch()
    with_gain = take_norms_apart(network("bp"), rows, without_gain=False)
    without = take_norms_apart(network("bp"), rows, without_gain=True)
    assert abs(with_gain["r_radial"] - without["r_radial"]).max() > 1e-3


def test_an_rms_norm_has_no_mean_part():
    model = network("fa", norm="rmsnorm")
    found = take_norms_apart(model, batch(), without_gain=False)
    assert (found["r_mean"] == 0).all()
    assert found["cosine_radial_only"] == pytest.approx([1.0] * 5, abs=1e-12)
