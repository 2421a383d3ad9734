"""Dictionary features against autograd with the features as leaves, on whole passes."""

from functools import partial

import numpy as np
import pytest
import torch

from backlight.data.batches import Batch, Passages
from backlight.errors import StateError
from backlight.surveys.features.measure.feature_pass import feature_pass
from backlight.surveys.features.measure.fidelity import check_fidelity
from backlight.surveys.features.measure.placed import PlacedDictionary, sites_of
from backlight.surveys.features.measure.plan import FeaturePlan
from backlight.surveys.features.measure.results import feature_result
from backlight.surveys.features.measure.survey import FeatureSurvey, survey_features
from zoo import oracles, subjects
from zoo.dictionaries import ACTIVATIONS, random_dictionary

LENGTHS = (9, 14, 5, 2, 11)
BATCHES = ((1, 4), (0, 2), (3,))
LAYERS = (0, 1, 2)
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}


def some_passages():
    """Draw passages in which no token comes twice, so that no two are equally large anywhere."""
    tokens = 3 + np.random.default_rng(0).permutation(96)[: sum(LENGTHS)]
    return Passages(tokens=np.split(tokens, np.cumsum(LENGTHS)[:-1]))


def subject_of(dtype=torch.float64):
    return subjects.subject_of(dtype=dtype)


def placed(subject, dictionaries, site="mlp.out"):
    """Put dictionaries at one kind of site, without asking how well they reconstruct it."""
    sites = {
        layer: sites_of(dictionary.card, layer, subject, site)
        for layer, dictionary in dictionaries.items()
    }
    return placed_at(subject, dictionaries, sites)


def placed_at(subject, dictionaries, sites):
    batch = Batch.of(some_passages(), BATCHES[0])
    return [
        PlacedDictionary(
            layer=layer,
            reads=reads,
            writes=writes,
            card=dictionaries[layer].card,
            fidelity=check_fidelity(
                subject, batch, dictionaries[layer], reads=reads, writes=writes
            ),
            load=partial(dictionaries.__getitem__, layer),
        )
        for layer, (reads, writes) in sites.items()
    ]


def steps_of(subject, state, placed, batches=BATCHES, chunk_bytes=10**9):
    return survey_features(
        feature_pass(subject, state.plan),
        some_passages(),
        batches,
        state,
        dictionaries=placed,
        chunk_bytes=chunk_bytes,
    )


def survey_of(subject, placed, plan, batches=BATCHES, chunk_bytes=10**9):
    """Drive a survey to its end."""
    state = FeatureSurvey(plan, placed)
    list(steps_of(subject, state, placed, batches, chunk_bytes))
    return state


def surveyed(subject, dictionaries, plan, **how):
    return survey_of(subject, placed(subject, dictionaries), plan, **how)


def explicit(subject, dictionary, layer, splice, stride):
    path = f"model.layers.{layer}.mlp"
    return oracles.explicit(subject, some_passages(), dictionary, path, splice, stride)


def error_of(rows, counts):
    """The ratio estimator with every sequence at hand; one count per sequence, or per feature."""
    sums = np.stack([row.sum(0) for row in rows])
    counts = np.stack(counts)
    total, clusters = counts.sum(0), (counts > 0).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(0) / total
        spread = ((sums - counts * mean) ** 2).sum(0)
        return np.sqrt(clusters / (clusters - 1) * spread) / total


def close(found, expected, tolerance):
    size = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("splice", ["replace", "error"])
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_gradients_of_all_features_are_those_of_autograd(splice, stride, dtype):
    subject = subject_of(dtype=dtype)
    dictionaries = {layer: random_dictionary(32, dtype=dtype, seed=layer) for layer in LAYERS}
    plan = FeaturePlan(splice=splice, stride=stride)

    state = surveyed(subject, dictionaries, plan)

    tolerance = TOLERANCE[dtype]
    for layer, dictionary in dictionaries.items():
        seen, oracle = state.layers[layer], explicit(subject, dictionary, layer, splice, stride)
        tokens = np.concatenate(oracle.gradients)
        lengths = [np.array([len(rows)]) for rows in oracle.gradients]
        along = seen.moment.along(dictionary.rows)
        absolute = seen.absolute.result()
        assert (along.num_tokens, along.num_sequences) == (len(tokens), len(LENGTHS))
        close(along.mean, tokens.mean(0), tolerance)
        close(along.rms, np.sqrt((tokens**2).mean(0)), tolerance)
        close(along.mean_se, error_of(oracle.gradients, lengths), tolerance)
        close(absolute.ratio, np.abs(tokens).mean(0), tolerance)
        sizes = [np.abs(rows) for rows in oracle.gradients]
        close(absolute.se, error_of(sizes, lengths), tolerance)
        assert seen.nats == pytest.approx(oracle.nats, rel=1e-5)
        assert seen.num_predicted == sum(LENGTHS) - len(LENGTHS)


@pytest.mark.parametrize("splice", ["replace", "error"])
def test_where_some_tokens_count_gradients_are_those_of_their_loss(splice):
    subject, dictionary = subject_of(), random_dictionary(32)
    passages = some_passages()
    passages = Passages(
        tokens=passages.tokens,
        counted=[np.arange(length) >= max(1, length // 2) for length in LENGTHS],
    )
    state = FeatureSurvey(FeaturePlan(splice=splice), placed(subject, {1: dictionary}))
    list(
        survey_features(
            feature_pass(subject, state.plan),
            passages,
            BATCHES,
            state,
            dictionaries=placed(subject, {1: dictionary}),
            chunk_bytes=10**9,
        )
    )

    oracle = oracles.explicit(subject, passages, dictionary, "model.layers.1.mlp", splice, 1)
    seen, tokens = state.layers[1], np.concatenate(oracle.gradients)
    along = seen.moment.along(dictionary.rows)
    close(along.mean, tokens.mean(0), 1e-6)
    close(along.rms, np.sqrt((tokens**2).mean(0)), 1e-6)
    close(seen.absolute.result().ratio, np.abs(tokens).mean(0), 1e-6)
    assert seen.nats == pytest.approx(oracle.nats, rel=1e-6)
    assert seen.num_predicted == passages.num_predicted == 5 + 7 + 3 + 1 + 6


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("splice", ["replace", "error"])
def test_every_activation_function_gives_the_gradients_of_autograd(activation, splice):
    subject, dictionary = subject_of(), random_dictionary(32, activation)

    seen = surveyed(subject, {1: dictionary}, FeaturePlan(splice=splice, stride=3)).layers[1]

    tokens = np.concatenate(explicit(subject, dictionary, 1, splice, 3).gradients)
    along = seen.moment.along(dictionary.rows)
    close(along.mean, tokens.mean(0), 1e-6)
    close(along.rms, np.sqrt((tokens**2).mean(0)), 1e-6)
    close(seen.absolute.result().ratio, np.abs(tokens).mean(0), 1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("splice", ["replace", "error"])
@pytest.mark.parametrize("active_only", [False, True], ids=["all tokens", "active tokens"])
def test_sparse_quantities_are_those_of_autograd(activation, splice, active_only):
    subject, layer = subject_of(), 1
    dictionary = random_dictionary(32, activation)
    oracle = explicit(subject, dictionary, layer, splice, 2)
    products = [f * g for f, g in zip(oracle.features, oracle.gradients, strict=True)]
    wanted = {"values": oracle.features, "grad_x_act": products}
    if active_only:
        wanted["gradients"] = [
            np.where(f != 0, g, 0) for f, g in zip(oracle.features, oracle.gradients, strict=True)
        ]
    for quantity, rows in wanted.items():
        plan = FeaturePlan(splice=splice, quantity=quantity, active_only=active_only, stride=2)
        seen = surveyed(subject, {layer: dictionary}, plan).layers[layer]
        result = seen.sparse.result()

        fires = [(f != 0).sum(0) for f in oracle.features]
        counts = fires if active_only else [np.full(40, len(row)) for row in rows]
        total = np.stack(counts).sum(0)
        known = total > 0
        sums = np.concatenate(rows)
        np.testing.assert_array_equal(seen.counts, np.stack(fires).sum(0))
        assert known.sum() > 10
        close(result.mean.ratio[known], sums.sum(0)[known] / total[known], 1e-6)
        close(result.mean_abs.ratio[known], np.abs(sums).sum(0)[known] / total[known], 1e-6)
        close(result.rms[known], np.sqrt((sums**2).sum(0)[known] / total[known]), 1e-6)
        assert np.isnan(result.mean.ratio[~known]).all()
        enough = (np.stack(counts) > 0).sum(0) > 1
        close(result.mean.se[enough], error_of(rows, counts)[enough], 1e-6)
        assert np.isnan(result.mean.se[~enough]).all()


@pytest.mark.parametrize("normalization", ["layer_norm", "constant_norm"])
@pytest.mark.parametrize("splice", ["replace", "error"])
def test_a_dictionary_that_normalises_scales_each_tokens_gradient(normalization, splice):
    subject = subject_of()
    dictionary = random_dictionary(32, normalization=normalization)

    seen = surveyed(subject, {1: dictionary}, FeaturePlan(splice=splice)).layers[1]

    tokens = np.concatenate(explicit(subject, dictionary, 1, splice, 1).gradients)
    close(seen.moment.along(dictionary.rows).mean, tokens.mean(0), 1e-6)
    close(seen.absolute.result().ratio, np.abs(tokens).mean(0), 1e-6)


@pytest.mark.parametrize("splice", ["replace", "error"])
def test_a_transcoder_is_looked_at_where_it_writes(splice):
    """It reads what enters the MLP, and its output takes the place of the MLP's."""
    subject = subject_of()
    made = random_dictionary(32, skip=True)
    sites = (subject.sites["layers.1.mlp.in"], subject.sites["layers.1.mlp.out"])
    placed = placed_at(subject, {1: made}, {1: sites})

    seen = survey_of(subject, placed, FeaturePlan(splice=splice, stride=2))

    tokens = np.concatenate(transcoded(subject, made, splice, 2))
    close(seen.layers[1].moment.along(made.rows).mean, tokens.mean(0), 1e-6)
    close(seen.layers[1].absolute.result().ratio, np.abs(tokens).mean(0), 1e-6)


def transcoded(subject, dictionary, splice, stride):
    """Gradients of a transcoder's features by autograd, passage by passage."""
    gradients = []
    for tokens in some_passages().tokens:
        leaves = {}

        def hook(module, inputs, output, leaves=leaves):
            x, target = inputs[0][0, ::stride].detach(), output[0, ::stride].detach()
            leaves["features"] = dictionary.encode(x).dense().requires_grad_()
            recon = leaves["features"] @ dictionary.rows + dictionary.bias + x @ dictionary.skip.T
            if splice == "error":
                recon = recon + (target - recon).detach()
            spliced = output.detach().clone()
            spliced[0, ::stride] = recon
            return spliced

        handle = subject.model.get_submodule("model.layers.1.mlp").register_forward_hook(hook)
        ids = torch.from_numpy(tokens)[None]
        logits = subject.model(input_ids=ids, use_cache=False).logits[0, :-1]
        handle.remove()
        loss = torch.nn.functional.cross_entropy(logits, ids[0, 1:])
        gradients.append(torch.autograd.grad(loss, leaves["features"])[0].numpy())
    return gradients


@pytest.mark.parametrize("splice", ["replace", "error"])
def test_how_passages_are_cut_into_chunks_and_batches_does_not_change_a_number(splice):
    subject = subject_of()
    dictionaries = {layer: random_dictionary(32, seed=layer) for layer in (0, 2)}
    plan = FeaturePlan(splice=splice, stride=2)
    whole = surveyed(subject, dictionaries, plan)
    small = surveyed(subject, dictionaries, plan, chunk_bytes=1)
    other = surveyed(subject, dictionaries, plan, batches=((0, 1, 2, 3, 4),))

    for layer, dictionary in dictionaries.items():
        first = whole.layers[layer]
        for second in (small.layers[layer], other.layers[layer]):
            close(second.absolute.result().ratio, first.absolute.result().ratio, 1e-6)
            close(
                second.moment.along(dictionary.rows).mean_se,
                first.moment.along(dictionary.rows).mean_se,
                1e-6,
            )


def test_the_longest_gradients_are_kept_with_their_tokens():
    subject = subject_of()
    dictionary = random_dictionary(32)
    seen = surveyed(subject, {1: dictionary}, FeaturePlan(splice="error", stride=2)).layers[1]

    largest = seen.largest.result()
    oracle = explicit(subject, dictionary, 1, "error", 2)

    assert len(largest.values) == sum(len(rows) for rows in oracle.gradients)
    for vector, passage, position in zip(
        largest.values[:5], largest.passages, largest.positions, strict=False
    ):
        expected = oracle.gradients[passage][position // 2]
        close(vector @ dictionary.rows.numpy().T, expected, 1e-6)


@pytest.mark.parametrize("splice", ["replace", "error"])
@pytest.mark.parametrize("quantity", ["gradients", "grad_x_act"])
def test_a_survey_goes_on_bit_by_bit_from_every_place_where_it_can_be_kept(splice, quantity):
    subject = subject_of(dtype=torch.float32)
    dictionaries = {
        layer: random_dictionary(32, dtype=torch.float32, seed=layer) for layer in (0, 2)
    }
    plan, there = FeaturePlan(splice=splice, quantity=quantity), placed(subject, dictionaries)
    whole = FeatureSurvey(plan, there)
    kept = [
        {name: array.copy() for name, array in whole.state().items()}
        for step in steps_of(subject, whole, there, chunk_bytes=8000)
        if step.resumable
    ]
    assert len(kept) >= 4
    for saved in kept:
        resumed = FeatureSurvey(plan, there)
        resumed.restore(saved)
        list(steps_of(subject, resumed, there, chunk_bytes=8000))
        for name, array in whole.state().items():
            np.testing.assert_array_equal(resumed.state()[name], array, err_msg=name)


PLANS = {
    "dense": {},
    "dense without absolute values": {"absolute": False},
    "active only": {"active_only": True},
    "values": {"quantity": "values"},
    "active values": {"quantity": "values", "active_only": True},
    "grad x act": {"quantity": "grad_x_act"},
    "active grad x act": {"quantity": "grad_x_act", "active_only": True},
}


def assert_same_survey(found, whole, placed):
    """Compare all counts exactly, and all numbers for each feature to 1e-12."""
    state = whole.state()
    assert found.state().keys() == state.keys()
    for name, array in found.state().items():
        if array.dtype.kind == "i" and name != "position":
            np.testing.assert_array_equal(array, state[name], err_msg=name)
    assert found.num_steps == whole.num_steps
    for each in placed:
        mine, other = (
            feature_result(survey.layers[each.layer], each, modes=("mean", "rms"), num_ranked=9)
            for survey in (found, whole)
        )
        assert mine.num_tokens == other.num_tokens
        assert mine.statistics.keys() == other.statistics.keys()
        for name, values in other.statistics.items():
            size = np.nanmax(np.abs(values))
            np.testing.assert_allclose(
                mine.statistics[name], values, rtol=0, atol=1e-12 * size, err_msg=name
            )
        np.testing.assert_array_equal(mine.ranked, other.ranked)
        np.testing.assert_array_equal(mine.contexts.passages, other.contexts.passages)
        np.testing.assert_array_equal(mine.contexts.positions, other.contexts.positions)
        np.testing.assert_allclose(mine.contexts.values, other.contexts.values, rtol=1e-12)
        assert mine.loss == (other.loss and pytest.approx(other.loss, rel=1e-12))


@pytest.mark.parametrize(("splice", "stride"), [("replace", 3), ("error", 1)])
@pytest.mark.parametrize("asked", PLANS.values(), ids=PLANS)
def test_parts_of_a_corpus_that_are_measured_apart_and_merged_are_the_whole(splice, stride, asked):
    subject = subject_of()
    there = placed(subject, {layer: random_dictionary(32, seed=layer) for layer in (0, 2)})
    plan = FeaturePlan(splice=splice, stride=stride, **asked)
    whole = survey_of(subject, there, plan, chunk_bytes=8000)

    for parts in ([[(1, 4), (0, 2)], [(3,)]], [[(3,)], [(4,)], [(2, 1)], [(0,)]]):
        first, *others = (survey_of(subject, there, plan, batches) for batches in parts)
        for other in others:
            kept = FeatureSurvey(plan, there)  # as a part that another process has written down
            kept.restore(other.state())
            first.merge(kept)
        assert_same_survey(first, whole, there)


def test_merging_leaves_the_part_that_is_merged_as_it_was():
    subject = subject_of()
    there = placed(subject, {1: random_dictionary(32)})
    for quantity in ("gradients", "grad_x_act"):
        plan = FeaturePlan(splice="replace", quantity=quantity)
        first, second = (survey_of(subject, there, plan, [(member,)]) for member in (0, 1))
        before = {name: array.copy() for name, array in second.state().items()}

        first.merge(second)
        first.merge(second)

        for name, array in before.items():
            np.testing.assert_array_equal(second.state()[name], array, err_msg=name)


def test_a_survey_that_stopped_within_a_chunk_is_not_merged():
    subject = subject_of()
    there = placed(subject, {layer: random_dictionary(32, seed=layer) for layer in (0, 2)})
    whole, stopped = (FeatureSurvey(FeaturePlan(splice="error"), there) for _ in range(2))
    next(step for step in steps_of(subject, stopped, there) if step.resumable)

    with pytest.raises(StateError, match="stopped between two layers"):
        whole.merge(stopped)
    with pytest.raises(StateError, match="of other layers"):
        whole.merge(FeatureSurvey(FeaturePlan(splice="error"), there[:1]))
