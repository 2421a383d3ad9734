"""Features of a cross-layer transcoder against autograd with the features as leaves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from backlight.data.batches import Batch
from backlight.dictionaries.collection import Collection
from backlight.dictionaries.dictionary import CROSS_LAYER
from backlight.errors import ConfigError, DictionaryError
from backlight.surveys.features.measure.cross_layer import check_asked
from backlight.surveys.features.measure.placed import place_dictionaries
from backlight.surveys.features.measure.plan import FeaturePlan
from backlight.surveys.features.measure.results import feature_result
from backlight.surveys.features.options import SaeConfig
from zoo import subjects
from zoo.dictionaries import random_dictionary

from .test_survey import BATCHES, close, error_of, some_passages, survey_of

WIDTH, NUM_LAYERS = 32, 3
STRIDES = (1, 4)


def layer_of_transcoder(layer, num_layers=NUM_LAYERS, dtype=torch.float64):
    """Draw an encoder, rows for the layer and all later ones, and the bias of its own site."""
    whole = random_dictionary(WIDTH, "threshold", dtype=dtype, seed=layer)
    rows = torch.cat(
        [random_dictionary(WIDTH, seed=10 * layer + k).rows for k in range(num_layers - layer)], 1
    )
    bias = torch.zeros(rows.shape[1], dtype=dtype)
    bias[:WIDTH] = whole.bias
    card = replace(
        whole.card,
        architecture=CROSS_LAYER,
        layer=layer,
        reads=f"layers.{layer}.resid.mid",
        writes=f"layers.{layer}.mlp.out",
    )
    return replace(whole, rows=rows.to(dtype), bias=bias, card=card)


@pytest.fixture
def transcoder():
    return {layer: layer_of_transcoder(layer) for layer in range(NUM_LAYERS)}


@pytest.fixture
def subject():
    return subjects.subject_of(dtype=torch.float64)


def config(**others):
    options = {"splice": "error", "allow_poor_reconstruction": True, **others}
    return SaeConfig(model_name="llama", dataset="shakespeare", **options)


def placed(subject, transcoder, **options):
    batch = Batch.of(some_passages(), BATCHES[0])
    return place_dictionaries(config(**options), Collection.of(transcoder), subject, batch)


def streams_and_outputs(subject, ids):
    """Keep what enters each layer's MLP before its norm, and what comes out, by plain hooks."""
    reads, writes, handles = [], [], []
    for block in subject.model.model.layers:
        norm, mlp = block.post_attention_layernorm, block.mlp
        handles.append(norm.register_forward_pre_hook(lambda _, args: reads.append(args[0][0])))
        handles.append(mlp.register_forward_hook(lambda *args: writes.append(args[2][0])))
    with torch.no_grad():
        subject.model(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return reads, writes


def explicit(subject, transcoder, stride):
    """Add ``f - f.detach()`` times each site's rows to the MLPs' outputs, passage by passage."""
    found = {layer: ([], []) for layer in transcoder}
    for tokens in some_passages().tokens:
        ids = torch.from_numpy(tokens)[None]
        reads, _ = streams_and_outputs(subject, ids)
        leaves = {
            layer: dictionary.encode(reads[layer][::stride]).dense().requires_grad_()
            for layer, dictionary in transcoder.items()
        }
        handles = []
        for site, block in enumerate(subject.model.model.layers):

            def write(module, inputs, output, site=site, leaves=leaves):
                output = output.clone()
                for layer, features in leaves.items():
                    if layer <= site:
                        start = (site - layer) * WIDTH
                        rows = transcoder[layer].rows[:, start : start + WIDTH]
                        change = (features - features.detach()) @ rows
                        output[0, ::stride] = output[0, ::stride] + change
                return output

            handles.append(block.mlp.register_forward_hook(write))
        logits = subject.model(input_ids=ids, use_cache=False).logits[0, :-1]
        for handle in handles:
            handle.remove()
        loss = torch.nn.functional.cross_entropy(logits, ids[0, 1:])
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        for (layer, features), gradient in zip(leaves.items(), gradients, strict=True):
            found[layer][0].append(features.detach().numpy())
            found[layer][1].append(gradient.numpy())
    return found


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("chunk_bytes", [10**9, 1])
def test_gradients_are_summed_over_all_sites_that_a_feature_writes(
    stride, chunk_bytes, subject, transcoder
):
    plan = FeaturePlan(splice="error", stride=stride)
    there = placed(subject, transcoder)

    state = survey_of(subject, there, plan, chunk_bytes=chunk_bytes)

    for each in there:
        _, gradients = explicit(subject, transcoder, stride)[each.layer]
        tokens = np.concatenate(gradients)
        lengths = [np.array([len(rows)]) for rows in gradients]
        found = state.layers[each.layer].statistics(transcoder[each.layer].rows)
        close(found["mean"], tokens.mean(0), 1e-10)
        close(found["rms"], np.sqrt((tokens**2).mean(0)), 1e-10)
        close(found["mean_abs"], np.abs(tokens).mean(0), 1e-10)
        close(found["mean_se"], error_of(gradients, lengths), 1e-8)
        close(found["mean_abs_se"], error_of([abs(rows) for rows in gradients], lengths), 1e-8)


@pytest.mark.parametrize("quantity", ["gradients", "grad_x_act"])
def test_where_features_fire_gradients_are_those_of_autograd_too(quantity, subject, transcoder):
    plan = FeaturePlan(splice="error", quantity=quantity, active_only=True)
    there = placed(subject, transcoder)

    state = survey_of(subject, there, plan)

    for each in there:
        features, gradients = map(np.concatenate, explicit(subject, transcoder, 1)[each.layer])
        fires = features != 0
        values = gradients * (features if quantity == "grad_x_act" else 1.0)
        with np.errstate(invalid="ignore"):
            expected = (values * fires).sum(0) / fires.sum(0)
        found = state.layers[each.layer].statistics(transcoder[each.layer].rows)["mean"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.nanmax(abs(expected)))


def test_the_contexts_are_the_tokens_of_the_largest_gradients(subject, transcoder):
    there = placed(subject, transcoder)
    state = survey_of(subject, there, FeaturePlan(splice="error"))

    for each in there:
        result = feature_result(state.layers[each.layer], each, modes=["rms"], num_ranked=5)
        _, gradients = explicit(subject, transcoder, 1)[each.layer]
        largest = np.abs(np.concatenate(gradients)).max(0)[result.ranked]
        close(np.abs(result.contexts.values[:, 0]), largest, 1e-10)


def test_a_survey_in_two_halves_is_the_survey_of_the_whole(subject, transcoder):
    there, plan = placed(subject, transcoder), FeaturePlan(splice="error")
    whole = survey_of(subject, there, plan)
    first = survey_of(subject, there, plan, batches=BATCHES[:2])
    again = survey_of(subject, there, plan, batches=())
    again.restore(first.state())
    again.merge(survey_of(subject, there, plan, batches=BATCHES[2:]))

    for layer, dictionary in transcoder.items():
        expected = whole.layers[layer].statistics(dictionary.rows)
        for name, values in again.layers[layer].statistics(dictionary.rows).items():
            close(values, expected[name], 1e-12)


@pytest.mark.parametrize("layers", ["all", "2"])
def test_a_site_is_reconstructed_by_the_features_of_all_layers_up_to_it(
    layers, subject, transcoder
):
    there = placed(subject, transcoder, layers=layers)

    passages = some_passages()
    kept = [
        (p, streams_and_outputs(subject, torch.from_numpy(passages.tokens[p])[None]))
        for p in BATCHES[0]
    ]
    for each in there:
        made, target = [], []
        for _, (reads, writes) in kept:
            total = 0
            for layer in range(each.layer + 1):
                dictionary, start = transcoder[layer], (each.layer - layer) * WIDTH
                rows = dictionary.rows[:, start : start + WIDTH]
                total = total + dictionary.encode(reads[layer]).dense() @ rows
            made.append((total + transcoder[each.layer].bias[:WIDTH])[1:])
            target.append(writes[each.layer][1:])
        made, target = torch.cat(made), torch.cat(target)
        spread = (target - target.mean(0)).square().sum()
        expected = 1 - (target - made).square().sum() / spread
        assert each.fidelity.quality.explained_variance == pytest.approx(float(expected), rel=1e-9)
    last = there[-1]
    assert (last.writes.name, last.beyond) == ("layers.2.mlp.out", ())
    names = [site.name for site in there[0].written]
    assert names == [f"layers.{each}.mlp.out" for each in range(there[0].layer, NUM_LAYERS)]


def test_a_transcoder_that_reconstructs_nothing_is_refused(subject, transcoder):
    with pytest.raises(
        DictionaryError, match=r"transcoder explains .* at layers.0.mlp.out .* all layers up to it"
    ):
        placed(subject, transcoder, allow_poor_reconstruction=False)


def test_layers_below_must_be_there(subject, transcoder):
    del transcoder[1]

    with pytest.raises(DictionaryError, match=r"layer 2 is made of .* nothing for layers 1\."):
        placed(subject, transcoder, layers="2")


def test_a_transcoder_of_another_depth_is_refused(subject):
    deeper = {layer: layer_of_transcoder(layer, num_layers=4) for layer in range(NUM_LAYERS)}

    with pytest.raises(
        DictionaryError, match=r"has rows of 128 numbers, while .* has 3 layers of 32: .* another"
    ):
        placed(subject, deeper)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splice": "replace"}, r"--splice replace .* all earlier layers .* use --splice error"),
        ({"path": 4}, r"--path leads one site .* several sites at once.*leave it out"),
        ({"site": "mlp.out"}, r"so --site cannot name them; its config.yaml does"),
    ],
)
def test_what_has_no_exact_answer_is_refused(options, message, transcoder):
    with pytest.raises(ConfigError, match=message):
        check_asked(config(**options), Collection.of(transcoder))


def test_values_are_measured_whatever_the_splice(subject, transcoder):
    check_asked(config(splice="replace", aggregate_by="values"), Collection.of(transcoder))
    check_asked(config(splice="replace"), Collection.of({0: random_dictionary(WIDTH, layer=0)}))
