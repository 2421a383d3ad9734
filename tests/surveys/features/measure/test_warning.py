"""The warning index of features is what whole passes with features as leaves say it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from backlight.data.batches import Batch
from backlight.stats.first_order import WARNING_COLUMNS
from backlight.surveys.driver.relative import ways_of
from backlight.surveys.features.measure.feature_pass import feature_pass
from backlight.surveys.features.measure.fidelity import check_fidelity
from backlight.surveys.features.measure.placed import PlacedDictionary, sites_of
from backlight.surveys.features.measure.plan import FeaturePlan
from backlight.surveys.features.measure.results import feature_result
from backlight.surveys.features.measure.survey import FeatureSurvey, survey_features
from zoo import oracles
from zoo.dictionaries import random_dictionary
from zoo.subjects import passages_of, subject_of

BATCHES = ((1, 4), (0, 2), (3, 5))


def placed_in(subject, dictionary, layer=1, *, warns=True):
    reads, writes = sites_of(dictionary.card, layer, subject, "mlp.out")
    batch = Batch.of(passages_of(), BATCHES[0])
    ways, _ = ways_of(subject, [writes])
    return PlacedDictionary(
        layer=layer,
        reads=reads,
        writes=writes,
        card=dictionary.card,
        fidelity=check_fidelity(subject, batch, dictionary, reads=reads, writes=writes),
        load=lambda: dictionary,
        way=ways[writes.name] if warns else None,
    )


def steps_of(subject, state, placed, batches):
    return survey_features(
        feature_pass(subject, state.plan),
        passages_of(),
        batches,
        state,
        dictionaries=[placed],
        chunk_bytes=1,
    )


def surveyed(subject, placed, plan, batches=BATCHES):
    state = FeatureSurvey(plan, [placed])
    list(steps_of(subject, state, placed, batches))
    return state


def oracle_of(subject, dictionary, plan):
    """Compute sizes, the predicted change of all tokens, and the index, from whole passes."""
    passages = passages_of()
    path = "model.layers.1.mlp"
    found = oracles.explicit(subject, passages, dictionary, path, plan.splice, plan.stride)
    size = np.concatenate(found.sizes).mean(axis=0)
    products = [x * g for x, g in zip(found.features, found.gradients, strict=True)]
    per_passage = np.stack([each.sum(axis=0) for each in products])
    all_of_seen = passages.num_tokens / sum(map(len, products))
    return size, -per_passage.mean(axis=0) * all_of_seen


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("normalization", ["none", "layer_norm", "constant_norm"])
@pytest.mark.parametrize(
    "how",
    [
        {"splice": "replace"},
        {"splice": "replace", "quantity": "grad_x_act", "active_only": True},
        {"splice": "error", "quantity": "grad_x_act"},
        {"splice": "error", "warns": True},
        {"splice": "error", "warns": True, "absolute": False},
    ],
    ids=str,
)
def test_sizes_and_predictions_are_those_of_features_as_leaves(how, normalization, stride):
    subject = subject_of("llama", torch.float64)
    dictionary = random_dictionary(32, normalization=normalization)
    plan = FeaturePlan(stride=stride, **how)

    state = surveyed(subject, placed_in(subject, dictionary), plan)

    found = state.layers[1].warnings.result("sequence_mean")
    size, change = oracle_of(subject, dictionary, plan)
    np.testing.assert_allclose(found.relative_size, size, rtol=1e-6)
    np.testing.assert_allclose(found.predicted_change, change, rtol=1e-5, atol=1e-9)
    fires = size > 0
    assert fires.any()
    np.testing.assert_allclose(
        found.warning_index[fires], (size**2)[fires] / np.abs(found.predicted_change[fires])
    )
    assert (found.warning_index[~fires] == 0).all()


def test_of_values_alone_the_size_is_known_and_nothing_is_predicted():
    subject = subject_of("llama", torch.float64)
    dictionary = random_dictionary(32)
    plan = FeaturePlan(splice="error", quantity="values")

    found = surveyed(subject, placed_in(subject, dictionary), plan).layers[1].warnings
    result = found.result("sequence_mean")

    np.testing.assert_allclose(result.relative_size, oracle_of(subject, dictionary, plan)[0])
    for blank in (result.predicted_change, result.warning_index, result.likely_wrong):
        assert np.isnan(blank).all()


@pytest.mark.parametrize(
    ("splice", "quantity"),
    [
        *(("replace", quantity) for quantity in ("gradients", "grad_x_act", "values")),
        ("error", "grad_x_act"),
    ],
)
def test_the_index_changes_no_other_number(splice, quantity):
    subject = subject_of("llama")
    dictionary = random_dictionary(32, dtype=torch.float32)
    plan = FeaturePlan(splice=splice, quantity=quantity, stride=2)
    with_index, without = (placed_in(subject, dictionary, warns=each) for each in (True, False))

    found = surveyed(subject, with_index, plan).layers[1]
    plain = surveyed(subject, without, plan).layers[1]

    kept = {name: array for name, array in found.state().items() if "warnings" not in name}
    assert kept.keys() == plain.state().keys() != found.state().keys()
    for name, array in plain.state().items():
        np.testing.assert_array_equal(kept[name], array)


@pytest.mark.parametrize("how", [{"splice": "replace"}, {"splice": "error", "warns": True}])
def test_a_survey_goes_on_from_its_state_bit_by_bit(how):
    subject = subject_of("llama")
    placed = placed_in(subject, random_dictionary(32, dtype=torch.float32))
    plan = FeaturePlan(stride=2, **how)
    whole = surveyed(subject, placed, plan)
    again = FeatureSurvey(plan, [placed])
    again.restore(surveyed(subject, placed, plan, BATCHES[:1]).state())

    list(steps_of(subject, again, placed, BATCHES))

    expected = whole.state()
    assert any("warnings" in name for name in expected)
    for name, array in again.state().items():
        np.testing.assert_array_equal(array, expected[name])


def test_parts_that_are_merged_are_the_whole():
    subject = subject_of("llama", torch.float64)
    placed, plan = (
        placed_in(subject, random_dictionary(32)),
        FeaturePlan(splice="replace", stride=2),
    )
    whole = surveyed(subject, placed, plan)
    part = surveyed(subject, placed, plan, BATCHES[:1])

    part.merge(surveyed(subject, placed, plan, BATCHES[1:]))

    found, expected = (each.layers[1].warnings.result("sequence_mean") for each in (part, whole))
    for name in WARNING_COLUMNS:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9)


def test_results_have_the_index_only_where_it_was_measured():
    subject = subject_of("llama")
    placed = placed_in(subject, random_dictionary(32, dtype=torch.float32))
    plan = FeaturePlan(splice="replace")

    for each, there in ((placed, True), (replace(placed, way=None), False)):
        state = surveyed(subject, each, plan)
        found = feature_result(state.layers[1], each, modes=("mean_abs",), num_ranked=9)
        assert (set(WARNING_COLUMNS) <= set(found.statistics)) == there
