"""The table of norms against sums over tokens, one passage at a time, in plain PyTorch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from backlight.capture.record import record
from backlight.data.batches import Batch
from backlight.decompose.surrogates import SURROGATES
from backlight.errors import FamilyProofError
from backlight.models.norms import norm_places
from backlight.surveys.flow.measure import norms
from backlight.surveys.flow.measure.norms import NormView
from backlight.surveys.flow.tables.norms import norm_tables
from zoo.flow import subject_of, surveyed, tables_of
from zoo.subjects import passages_of

F64 = torch.float64


def norm_gradients(subject, path, tokens):
    """Input, output gradient and input gradient of a module, by hooks and autograd alone."""
    seen = {}

    def before(module, inputs):
        seen["x"] = inputs[0].detach().requires_grad_()
        return (seen["x"],)

    def behind(module, inputs, output):
        seen["y"] = output
        return output

    module = subject.model.get_submodule(path)
    handles = [module.register_forward_pre_hook(before), module.register_forward_hook(behind)]
    ids = torch.from_numpy(tokens)[None]
    loss = subject.model(input_ids=ids, labels=ids, use_cache=False).loss
    for handle in handles:
        handle.remove()
    grad, grad_in = torch.autograd.grad(loss, [seen["y"], seen["x"]])
    return seen["x"][0].detach(), grad[0], grad_in[0]


def by_hand(subject, path, weight, *, centred, eps):
    """Every number of the table by its definition, on lists of tokens."""
    tokens, sequences = [], []
    for number, passage in enumerate(passages_of().tokens):
        for x, g, true in zip(*norm_gradients(subject, path, passage), strict=True):
            x = x - x.mean() if centred else x
            sigma = (x.square().mean() + eps).sqrt()
            z, u = x / sigma, weight * g
            mean = u.mean() if centred else 0 * u.mean()
            radial = z * (u * z).mean()
            surrogates = {
                "identity": u,
                "scale": u / sigma,
                "center_scale": (u - mean) / sigma,
                "projected": u - mean - radial,
                "radial_only": (u - radial) / sigma,
            }
            tokens.append((u, torch.ones_like(u) * mean, radial, sigma, true, surrogates))
            sequences.append(number)
    return tokens, np.array(sequences)


def ratio(above, below, sequences):
    """A ratio of sums and its clustered error, from numbers for each token."""
    above, below = (
        np.array([np.sum(np.asarray(part)[sequences == m]) for m in np.unique(sequences)])
        for part in (above, below)
    )
    value, count = above.sum() / below.sum(), len(above)
    spread = np.square(above - value * below).sum() * count / (count - 1)
    return value, np.sqrt(spread) / below.sum()


@pytest.mark.parametrize(
    ("name", "site", "centred", "offset", "eps"),
    [
        ("llama", "norm1", False, 0, 1e-6),
        ("gemma2", "norm2_post", False, 1, 1e-6),
        ("gpt2", "norm2", True, 0, 1e-5),
    ],
)
def test_every_number_is_what_its_definition_says(name, site, centred, offset, eps):
    subject = subject_of(name, F64)
    path = subject.sites[f"layers.1.{site}.out"].tap.module
    weight = subject.model.get_submodule(path).weight + offset
    table = tables_of(surveyed(subject, ["norms"]))["norms"]
    row = table.select((table["layer"] == 1) & (table["norm"] == site))

    tokens, sequences = by_hand(subject, path, weight, centred=centred, eps=eps)

    def check(column, above, below, root=False):
        value, error = ratio(above, below, sequences)
        if root:
            value, error = value**0.5, error / (2 * value**0.5)
        assert row[column].item() == pytest.approx(value, rel=1e-5)
        assert row[f"{column}_se"].item() == pytest.approx(error, rel=1e-3, abs=1e-7)

    whole = [u.square().sum().item() for u, *_ in tokens]
    live = [float(size > 0) for size in whole]
    means = [mean.square().sum().item() for _, mean, *_ in tokens]
    radials = [radial.square().sum().item() for _, _, radial, *_ in tokens]
    true = [grad.square().sum().item() for *_, grad, _ in tokens]
    check("r_mean", means, whole)
    check("r_radial", radials, whole)
    check("token_r_mean", [m / w if w else 0 for m, w in zip(means, whole, strict=True)], live)
    check("token_r_radial", [r / w if w else 0 for r, w in zip(radials, whole, strict=True)], live)
    check("sigma", [sigma.item() for _, _, _, sigma, *_ in tokens], np.ones(len(tokens)))
    check("gradient_norm", true, np.ones(len(tokens)), root=True)
    for surrogate in SURROGATES:
        pairs = [(each[surrogate], grad) for *_, grad, each in tokens]
        cosines = [torch.cosine_similarity(*pair, dim=0, eps=1e-30).item() for pair in pairs]
        check(f"{surrogate}_cosine", cosines, live)
        check(
            f"{surrogate}_norm_ratio", [s.square().sum().item() for s, _ in pairs], true, root=True
        )
    sigmas = np.array([sigma.item() for _, _, _, sigma, *_ in tokens])
    assert row["sigma_std"].item() == pytest.approx(sigmas.std(), rel=1e-4)
    assert row["gain_mean"].item() == pytest.approx(weight.mean().item())
    assert row["gain_std"].item() == pytest.approx(weight.std(correction=0).item())
    assert row["gain_max"].item() == pytest.approx(weight.abs().max().item())


def test_an_rms_norm_has_no_mean_part_and_a_layer_norm_has_both():
    rms = tables_of(surveyed(subject_of("llama"), ["norms"]))["norms"]
    layer = tables_of(surveyed(subject_of("gpt2"), ["norms"]))["norms"]

    assert (rms["r_mean"] == 0).all()
    assert (rms["r_mean_chance"] == 0).all()
    np.testing.assert_allclose(rms["r_radial_chance"], 1 / 32)
    assert (layer["r_mean"] > 0).all()
    np.testing.assert_allclose(layer["r_mean_chance"], 1 / 32)
    np.testing.assert_allclose(layer["identity_cosine_chance"], (1 - 2 / 32) ** 0.5)
    np.testing.assert_allclose(layer["center_scale_cosine_chance"] ** 2, (30 / 32) / (31 / 32))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_gradient_drawn_at_random_gives_what_stands_as_chance(name):
    subject = subject_of(name, F64)
    batch = Batch.of(passages_of((60, 60, 60)), (0, 1, 2))
    view = NormView(subject, range(3))
    tape = record(subject, batch, view.sites, keep_activations=True)
    random, gradients = torch.Generator().manual_seed(0), dict(tape.gradients)
    sizes = torch.rand(3, 60, 1, generator=random, dtype=F64)  # tokens are not alike
    for place in norm_places(subject, range(3)):
        drawn = torch.randn(3, 60, 32, generator=random, dtype=F64)
        gradients[place.out.name] = sizes * drawn / place.gain

    view.update(replace(tape, gradients=gradients), {})

    (table,) = norm_tables(view)
    for share in ("r_mean", "r_radial"):
        np.testing.assert_allclose(table[share], table[f"{share}_chance"], atol=0.012)
        np.testing.assert_allclose(table[f"token_{share}"], table[f"{share}_chance"], atol=0.012)
    for surrogate in SURROGATES:
        for column in (f"{surrogate}_cosine", f"{surrogate}_norm_ratio"):
            np.testing.assert_allclose(
                table[column], table[f"{column}_chance"], rtol=0.02, err_msg=column
            )


def test_heads_have_rows_of_their_own_where_they_are_normalised_apart():
    table = tables_of(surveyed(subject_of("qwen3"), ["norms"], layers=[1]))["norms"]

    queries = table.select(table["norm"] == "attn.q_norm")
    keys = table.select(table["norm"] == "attn.k_norm")
    assert queries["head"].tolist() == [0, 1, 2, 3]
    assert keys["head"].tolist() == [0, 1]
    assert (queries["width"] == 16).all()
    assert len(np.unique(queries["r_radial"])) == 4
    assert np.isnan(table.select(table["norm"] == "norm1")["head"]).all()


def test_a_norm_that_is_not_what_the_table_says_is_an_error_on_the_first_batch(monkeypatch):
    def wrong(subject, layers):
        places = norm_places(subject, layers)
        return tuple(replace(place, is_centred=not place.is_centred) for place in places)

    monkeypatch.setattr(norms, "norm_places", wrong)

    with pytest.raises(FamilyProofError, match=r"llama.*norm1\.out .* as a layer norm"):
        surveyed(subject_of("llama"), ["norms"])
