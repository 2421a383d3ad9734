"""Features along paths, against a loop of plain autograd with hooks, one passage at a time."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from backlight.data.batches import Batch, Passages
from backlight.errors import StateError
from backlight.stats.completeness import Completeness
from backlight.surveys.features.measure.feature_pass import feature_pass
from backlight.surveys.features.measure.fidelity import check_fidelity
from backlight.surveys.features.measure.placed import PlacedDictionary
from backlight.surveys.features.measure.plan import FeaturePlan
from backlight.surveys.features.measure.survey import FeatureSurvey, survey_features
from zoo.dictionaries import random_dictionary
from zoo.subjects import subject_of

PASSAGES = Passages(tokens=np.split(3 + np.random.default_rng(0).permutation(96)[:41], [9, 23, 28]))
BATCHES = ((1, 3), (0,), (2,))
LAYERS = (0, 2)
NODES = 3


@pytest.fixture(scope="module")
def subject():
    return subject_of(dtype=torch.float64)


@pytest.fixture(scope="module")
def dictionaries():
    return {layer: random_dictionary(32, dtype=torch.float64, seed=layer) for layer in LAYERS}


def placed(subject, dictionaries):
    batch = Batch.of(PASSAGES, BATCHES[0])
    sites = {layer: subject.sites[f"layers.{layer}.mlp.out"] for layer in dictionaries}
    return [
        PlacedDictionary(
            layer=layer,
            reads=sites[layer],
            writes=sites[layer],
            card=dictionary.card,
            fidelity=check_fidelity(
                subject, batch, dictionary, reads=sites[layer], writes=sites[layer]
            ),
            load=partial(dictionaries.__getitem__, layer),
        )
        for layer, dictionary in dictionaries.items()
    ]


def nothing(plan, there):
    names = [each.writes.name for each in there]
    return FeatureSurvey(plan, there, Completeness(names, len(PASSAGES.tokens)))


def surveyed(subject, dictionaries, plan, batches=BATCHES, **how):
    there = placed(subject, dictionaries)
    state = nothing(plan, there)
    options = {"dictionaries": there, "chunk_bytes": 10**9, **how}
    list(survey_features(feature_pass(subject, state.plan), PASSAGES, batches, state, **options))
    return state


def loss_with(subject, layer, ids, tensor_of):
    """Run the plain model with something else in the place of one MLP's output."""
    seen = []

    def hook(module, inputs, output):
        seen.append(tensor_of(output[0].detach()))
        return seen[0][None]

    handle = subject.model.get_submodule(f"model.layers.{layer}.mlp").register_forward_hook(hook)
    logits = subject.model(input_ids=ids[None], use_cache=False).logits[0, :-1]
    handle.remove()
    return cross_entropy(logits, ids[1:]), seen[0]


def by_hand(subject, dictionary, layer, splice, stride):
    """Average gradients of features, and changes, passage by passage."""
    gradients, changes = [], []
    for tokens in PASSAGES.tokens:
        ids = torch.from_numpy(tokens)

        def end_of(x):
            end = x.clone()
            if splice == "replace":
                features = dictionary.encode(x[::stride]).dense()
                end[::stride] = features @ dictionary.rows + dictionary.bias
            return end.requires_grad_()

        value, end = loss_with(subject, layer, ids, end_of)
        (last,) = torch.autograd.grad(value, end)
        end = end.detach()
        reference = torch.zeros_like(end)
        if splice == "replace":
            reference = end.clone()
            reference[::stride] = 0
        average = torch.zeros_like(end)
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        for node, weight in zip(nodes, weights, strict=True):
            here = reference + (node + 1) / 2 * (end - reference)
            loss, leaf = loss_with(
                subject, layer, ids, lambda x, here=here: here.clone().requires_grad_()
            )
            average += weight / 2 * torch.autograd.grad(loss, leaf)[0]
        before, _ = loss_with(subject, layer, ids, lambda x, here=reference: here)
        moved = end - reference
        change = [-(last * moved).sum(), -(average * moved).sum(), before - value]
        changes.append([float(each.detach()) for each in change])
        gradients.append((average[::stride] @ dictionary.rows.T).detach().numpy())
    return gradients, np.array(changes)


@pytest.mark.parametrize(("splice", "stride"), [("error", 1), ("replace", 1), ("replace", 4)])
def test_features_along_a_path_have_the_gradients_of_a_plain_loop(
    subject, dictionaries, splice, stride
):
    state = surveyed(
        subject, dictionaries, FeaturePlan(splice=splice, stride=stride, num_nodes=NODES)
    )

    for layer, dictionary in dictionaries.items():
        gradients, changes = by_hand(subject, dictionary, layer, splice, stride)
        tokens = np.concatenate(gradients)
        along = state.layers[layer].moment.along(dictionary.rows)
        scale = np.abs(tokens).max()
        np.testing.assert_allclose(along.mean, tokens.mean(0), rtol=0, atol=1e-6 * scale)
        np.testing.assert_allclose(
            along.rms, np.sqrt((tokens**2).mean(0)), rtol=0, atol=1e-6 * scale
        )
        np.testing.assert_allclose(
            state.completeness.sites[f"layers.{layer}.mlp.out"], changes, rtol=1e-5, atol=1e-8
        )


@pytest.mark.parametrize("splice", ["error", "replace"])
def test_a_survey_along_paths_goes_on_bit_by_bit_from_any_layer(subject, dictionaries, splice):
    plan = FeaturePlan(splice=splice, quantity="grad_x_act", num_nodes=2)
    whole = surveyed(subject, dictionaries, plan)
    there = placed(subject, dictionaries)
    state, stops = nothing(plan, there), 0
    while stops < 20:
        steps = survey_features(
            feature_pass(subject, state.plan),
            PASSAGES,
            BATCHES,
            state,
            dictionaries=there,
            chunk_bytes=1,
        )
        if not any(step.resumable for step in steps):
            break
        kept, stops = state.state(), stops + 1
        state = nothing(plan, there)
        state.restore(kept)

    assert stops == len(LAYERS) * len(BATCHES)
    expected = whole.state()
    for name, array in state.state().items():
        if name.startswith("completeness"):
            np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_parts_along_paths_merge_into_the_whole(subject, dictionaries):
    plan = FeaturePlan(splice="error", num_nodes=2)
    whole = surveyed(subject, dictionaries, plan)
    first, second = (
        surveyed(subject, dictionaries, plan, batches=part) for part in (BATCHES[:1], BATCHES[1:])
    )
    with pytest.raises(StateError, match=r"passage 0 at .* is in both"):
        second.merge(surveyed(subject, dictionaries, plan, batches=BATCHES[1:2]))

    first.merge(second)

    for site, changes in whole.completeness.sites.items():
        np.testing.assert_array_equal(first.completeness.sites[site], changes)
