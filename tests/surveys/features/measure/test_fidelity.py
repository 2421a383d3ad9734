"""Where dictionaries belong, tried on dictionaries that were fitted to one site of a tiny model."""

import dataclasses

import numpy as np
import pytest
import torch

from backlight.capture.record import record_activations
from backlight.data.batches import Batch, Passages
from backlight.dictionaries.activations import Threshold, TopK
from backlight.dictionaries.dictionary import Card, Dictionary, LinearEncoder
from backlight.errors import DictionaryError, UnknownSiteError
from backlight.models.loading import subject_from_transformers
from backlight.surveys.features.measure.fidelity import (
    LEAST_EXPLAINED,
    check_fidelity,
    likely_cause,
    unique_sites,
)
from backlight.surveys.features.measure.placed import number_format, sites_of
from zoo.dictionaries import random_dictionary
from zoo.models import tiny_model
from zoo.tokenizers import WordTokenizer

WIDTH = 32


@pytest.fixture(scope="module")
def subject():
    model = tiny_model("llama", torch.float64)
    return subject_from_transformers(model, WordTokenizer(), name="tiny llama")


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(0)
    rows = [random.integers(3, 99, length) for length in (30, 41, 17, 2, 25)]
    return Batch.of(Passages(tokens=rows), (4, 0, 2, 1, 3))


def card(**known):
    return Card(format="made up", path="some/folder", architecture="relu", **known)


def at(subject, kind, layer=1):
    """Both sites of a dictionary by name, as arguments of what is tried."""
    reads, writes = sites_of(card(), layer, subject, kind)
    return {"reads": reads, "writes": writes}


def quality_of(subject, batch, dictionary, where):
    return check_fidelity(subject, batch, dictionary, **where).quality


def cause_of(subject, batch, dictionary, where, quality):
    return likely_cause(subject, batch, dictionary, **where, quality=quality)


def rows_of(tape, site):
    return tape.activations[site.name][tape.batch.valid]


def first_tokens(batch):
    return torch.cat([torch.arange(length) == 0 for length in batch.lengths.tolist()])


def activations_at(subject, batch, name):
    site = subject.sites[name]
    return rows_of(record_activations(subject, batch, [site]), site)


def usual_scale(x, batch):
    return float(WIDTH**0.5 / x[~first_tokens(batch)].norm(dim=1).mean())


def made_of(rows, mean, activation):
    return Dictionary(
        encoder=LinearEncoder(
            rows=rows,
            bias=torch.zeros(len(rows), dtype=rows.dtype),
            input_bias=mean,
            activation=activation,
        ),
        rows=rows,
        bias=mean,
        card=card(),
    )


def memory_of(x):
    """Make a dictionary with one feature for each of some tokens, of which one fires at a time.

    The best fit to a token that it remembers is that token itself; to others none fits well.
    """
    mean = x.mean(dim=0)
    rows = torch.nn.functional.normalize(x - mean, dim=1)
    return made_of(rows, mean, TopK(k=1))


def directions_of(x):
    """Make a dictionary of the main directions of some tokens, along which only large parts count.

    It is best for these tokens, and loses nearly everything of much smaller ones.
    """
    mean = x.mean(dim=0)
    _, _, main = torch.linalg.svd(x - mean, full_matrices=False)
    rows = torch.cat([main[:12], -main[:12]])
    return made_of(rows, mean, Threshold(threshold=0.5 * ((x - mean) @ rows.T).std(dim=0)))


def test_a_dictionary_is_placed_where_its_files_say(subject):
    found = sites_of(card(reads="layers.1.norm2.out", writes="layers.1.mlp.out"), 1, subject)

    assert [site.name for site in found] == ["layers.1.norm2.out", "layers.1.mlp.out"]


@pytest.mark.parametrize(
    "name", ["mlp.out", "layers.*.mlp.out", "model.layers.1.mlp", "blocks.1.hook_mlp_out"]
)
def test_an_autoencoder_writes_what_it_reads_in_any_dialect_of_names(subject, name):
    reads, writes = sites_of(card(reads=name), 1, subject)

    assert reads == writes == subject.sites["layers.1.mlp.out"]


@pytest.mark.parametrize("name", [None, "layers.1.attn.out", "no.such.place"])
def test_what_the_caller_says_counts_more_than_the_files(subject, name):
    reads, writes = sites_of(card(reads=name, writes=name), 1, subject, "resid.post")

    assert reads == writes == subject.sites["layers.1.resid.post"]


def test_a_dictionary_that_nobody_places_is_refused_with_the_remedy(subject):
    with pytest.raises(
        DictionaryError, match=r"'some/folder' says at which site .* name it with --site"
    ):
        sites_of(card(), 1, subject)


def test_a_dictionary_of_another_layer_is_refused(subject):
    with pytest.raises(
        DictionaryError, match=r"taken for layer 1, but it belongs to layer 2 \(layers.2.mlp.out\)"
    ):
        sites_of(card(reads="layers.2.mlp.out"), 1, subject)
    with pytest.raises(DictionaryError, match=r"taken for layer 1, but it belongs to embed.out"):
        sites_of(card(reads="embed.out"), 1, subject)


def test_a_name_of_several_sites_of_the_layer_is_refused_with_their_names(subject):
    with pytest.raises(
        DictionaryError,
        match=r"'resid.\*' is more than one site of layer 1 \(layers.1.resid.pre, .*name one",
    ):
        sites_of(card(), 1, subject, "resid.*")


def test_a_site_that_the_model_has_not_is_refused(subject):
    with pytest.raises(UnknownSiteError, match=r"no site 'mlp.outt' .* mean mlp.out"):
        sites_of(card(reads="mlp.outt"), 1, subject)


def spread(rows):
    return (rows - rows.mean(dim=0)).square().sum()


@pytest.mark.parametrize("normalization", ["none", "layer_norm", "constant_norm"])
@pytest.mark.parametrize(
    ("reads", "writes"),
    [("mlp.out", "mlp.out"), ("resid.pre", "resid.pre"), ("norm2.out", "mlp.out")],
    ids=["mlp.out", "resid.pre", "transcoder"],
)
def test_fidelity_is_how_good_the_dictionary_is(subject, batch, reads, writes, normalization):
    dictionary = random_dictionary(WIDTH, normalization=normalization, skip=reads != writes)
    sites = [subject.sites[f"layers.1.{kind}"] for kind in (reads, writes)]

    found = check_fidelity(subject, batch, dictionary, reads=sites[0], writes=sites[1])

    tape = record_activations(subject, batch, unique_sites(*sites))
    x, target = (rows_of(tape, site) for site in sites)
    features = dictionary.encode(x).dense()
    error = target - dictionary.decode(dictionary.encode(x), x)
    rest = ~first_tokens(batch)
    explained = 1 - error[rest].square().sum() / spread(target[rest])
    with_first = 1 - error.square().sum() / spread(target)
    fires = features != 0
    quality = found.quality
    assert quality.explained_variance == pytest.approx(float(explained), rel=1e-9)
    assert quality.explained_variance_with_first == pytest.approx(float(with_first), rel=1e-9)
    assert quality.l0 == pytest.approx(float(fires[rest].sum(dim=1).double().mean()))
    assert quality.dead_share == pytest.approx(1 - float(fires[rest].any(dim=0).double().mean()))
    assert quality.num_tokens == int(rest.sum())
    assert found.num_tokens == len(rest) == batch.num_tokens
    torch.testing.assert_close(found.counts, fires.sum(dim=0))
    assert found.normalization == normalization
    assert found.widths == (WIDTH, WIDTH)


def test_the_check_leaves_no_hook_behind(subject, batch):
    quality_of(subject, batch, random_dictionary(WIDTH), at(subject, "mlp.out"))

    for module in subject.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_a_dictionary_of_another_width_is_refused_with_both_widths(subject, batch):
    where, wrong = at(subject, "mlp.out"), random_dictionary(48)

    with pytest.raises(
        DictionaryError,
        match=r"'memory' is for vectors of 48 numbers, but layers.1.mlp.out of tiny llama has 32",
    ):
        quality_of(subject, batch, wrong, where)


def test_a_transcoder_that_writes_another_width_is_refused(subject, batch):
    dictionary = random_dictionary(WIDTH)
    wider = dataclasses.replace(
        dictionary, rows=dictionary.rows.repeat(1, 2), bias=dictionary.bias.repeat(2)
    )

    with pytest.raises(DictionaryError, match=r"of 64 numbers, but layers.1.mlp.out .* has 32"):
        quality_of(subject, batch, wider, at(subject, "mlp.out"))


@pytest.mark.parametrize(
    ("trained", "tried"),
    [
        ("layers.1.resid.post", "mlp.out"),
        ("layers.1.mlp.out", "resid.post"),
        ("layers.1.attn.z", "attn.out"),
        ("layers.1.norm2.out", "attn.out"),
        ("layers.0.mlp.out", "mlp.out"),
        ("layers.2.mlp.out", "mlp.out"),
    ],
)
def test_the_site_that_a_dictionary_was_trained_at_is_named(subject, batch, trained, tried):
    dictionary, where = memory_of(activations_at(subject, batch, trained)), at(subject, tried)
    quality = quality_of(subject, batch, dictionary, where)
    assert quality.explained_variance < 0.5

    cause = cause_of(subject, batch, dictionary, where, quality)

    own = at(subject, trained, int(trained[7]))
    assert quality_of(subject, batch, dictionary, own).explained_variance > 0.999
    assert cause == f"Likely cause: it was trained at {trained} (explained variance there 1.00)."


def test_the_scale_that_a_dictionary_was_trained_at_is_named(batch):
    model = tiny_model("llama", torch.float64)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.mul_(0.05)
    subject = subject_from_transformers(model, WordTokenizer())
    where = at(subject, "mlp.out")
    x = activations_at(subject, batch, where["reads"].name)
    scale = usual_scale(x, batch)
    dictionary = directions_of(x * scale)
    quality = quality_of(subject, batch, dictionary, where)
    assert quality.explained_variance < LEAST_EXPLAINED

    cause = cause_of(subject, batch, dictionary, where, quality)

    assert cause.startswith(
        "Likely cause: it was trained on activations scaled to the mean norm sqrt(32), here times "
        f"{scale:.3g}, which its files do not say (explained variance there 0."
    )


def test_a_dictionary_that_fits_nowhere_is_said_to(subject, batch):
    dictionary, where = random_dictionary(WIDTH), at(subject, "mlp.out")
    quality = quality_of(subject, batch, dictionary, where)

    cause = cause_of(subject, batch, dictionary, where, quality)

    assert cause.startswith("No other site of its width in this layer or the next ones")


def test_a_site_that_is_hardly_better_is_not_the_cause(subject, batch):
    dictionary = memory_of(activations_at(subject, batch, "layers.1.resid.post"))
    where = at(subject, "mlp.out")
    quality = quality_of(subject, batch, dictionary, where)
    nearly = dataclasses.replace(quality, explained_variance=0.95)

    assert cause_of(subject, batch, dictionary, where, nearly).startswith("No other site")


def test_dictionaries_compute_in_float32_but_for_float64_models(subject):
    half = subject_from_transformers(tiny_model("gpt2", torch.bfloat16), WordTokenizer())

    assert number_format(subject) == torch.float64
    assert number_format(half) == torch.float32


def test_each_site_is_named_once_in_the_order_given(subject):
    one, two = subject.sites["layers.1.mlp.out"], subject.sites["layers.0.mlp.out"]

    assert unique_sites(one, two, one) == [one, two]
