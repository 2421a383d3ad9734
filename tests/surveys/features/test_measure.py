"""Dictionary features against autograd with the features as leaves, on whole passes."""

import numpy as np
import pytest
import torch

from backlight.data.batches import Batch
from backlight.surveys.features.measure.feature_pass import FeaturePlan
from backlight.surveys.features.measure.placement import Place, place, try_out
from backlight.surveys.features.measure.survey import FeatureSurvey, survey_features
from zoo import oracles
from zoo.dictionaries import ACTIVATIONS, random_dictionary
from zoo.subjects import passages_of, subject_of

LENGTHS = (9, 14, 5, 2, 11)
BATCHES = ((1, 4), (0, 2), (3,))
LAYERS = (0, 1, 2)
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}


def surveyed(subject, dictionaries, plan, *, site="mlp.out", batches=BATCHES, chunk_bytes=10**9):
    """Drive the survey to its end, all dictionaries at one kind of site."""
    places = {
        layer: place(dictionary.card, layer, subject, site)
        for layer, dictionary in dictionaries.items()
    }
    return surveyed_at(subject, dictionaries, places, plan, batches, chunk_bytes)


def surveyed_at(subject, dictionaries, places, plan, batches=BATCHES, chunk_bytes=10**9):
    passages = passages_of(LENGTHS)
    first = Batch.of(passages, batches[0])
    trials = {
        layer: try_out(subject, first, dictionary, places[layer])
        for layer, dictionary in dictionaries.items()
    }
    sizes = {layer: each.rows.shape for layer, each in dictionaries.items()}
    state = FeatureSurvey(plan, {layer: tuple(size) for layer, size in sizes.items()})
    steps = survey_features(
        subject,
        passages,
        batches,
        state,
        places=list(places.values()),
        trials=trials,
        load=dictionaries.__getitem__,
        plan=plan,
        chunk_bytes=chunk_bytes,
    )
    list(steps)
    return state


def explicit(subject, dictionary, layer, splice, stride):
    path = f"model.layers.{layer}.mlp"
    return oracles.explicit(subject, passages_of(LENGTHS), dictionary, path, splice, stride)


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


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("splice", ["replace", "error"])
def test_every_activation_function_gives_the_gradients_of_autograd(activation, splice):
    subject, dictionary = subject_of(dtype=torch.float64), random_dictionary(32, activation)

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
    subject, layer = subject_of(dtype=torch.float64), 1
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
    subject = subject_of(dtype=torch.float64)
    dictionary = random_dictionary(32, normalization=normalization)

    seen = surveyed(subject, {1: dictionary}, FeaturePlan(splice=splice)).layers[1]

    tokens = np.concatenate(explicit(subject, dictionary, 1, splice, 1).gradients)
    close(seen.moment.along(dictionary.rows).mean, tokens.mean(0), 1e-6)
    close(seen.absolute.result().ratio, np.abs(tokens).mean(0), 1e-6)


@pytest.mark.parametrize("splice", ["replace", "error"])
def test_a_transcoder_is_looked_at_where_it_writes(splice):
    """It reads what enters the MLP, and its output takes the place of the MLP's."""
    subject = subject_of(dtype=torch.float64)
    made = random_dictionary(32, skip=True)
    where = Place(
        layer=1, reads=subject.sites["layers.1.mlp.in"], writes=subject.sites["layers.1.mlp.out"]
    )

    seen = surveyed_at(subject, {1: made}, {1: where}, FeaturePlan(splice=splice, stride=2))

    tokens = np.concatenate(transcoded(subject, made, splice, 2))
    close(seen.layers[1].moment.along(made.rows).mean, tokens.mean(0), 1e-6)
    close(seen.layers[1].absolute.result().ratio, np.abs(tokens).mean(0), 1e-6)


def transcoded(subject, dictionary, splice, stride):
    """Gradients of a transcoder's features by autograd, passage by passage."""
    gradients = []
    for tokens in passages_of(LENGTHS).tokens:
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
    subject = subject_of(dtype=torch.float64)
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
    subject = subject_of(dtype=torch.float64)
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
    subject, passages = subject_of(dtype=torch.float32), passages_of(LENGTHS)
    dictionaries = {
        layer: random_dictionary(32, dtype=torch.float32, seed=layer) for layer in (0, 2)
    }
    plan = FeaturePlan(splice=splice, quantity=quantity)
    places = {k: place(d.card, k, subject, "mlp.out") for k, d in dictionaries.items()}
    first = Batch.of(passages, BATCHES[0])
    trials = {k: try_out(subject, first, d, places[k]) for k, d in dictionaries.items()}
    sizes = dict.fromkeys(dictionaries, (40, 32))

    def steps(state):
        return survey_features(
            subject,
            passages,
            BATCHES,
            state,
            places=list(places.values()),
            trials=trials,
            load=dictionaries.__getitem__,
            plan=plan,
            chunk_bytes=8000,
        )

    whole = FeatureSurvey(plan, sizes)
    kept = [
        {name: array.copy() for name, array in whole.state().items()}
        for step in steps(whole)
        if step.resumable
    ]
    assert len(kept) >= 4
    for saved in kept:
        resumed = FeatureSurvey(plan, sizes)
        resumed.restore(saved)
        list(steps(resumed))
        for name, array in whole.state().items():
            np.testing.assert_array_equal(resumed.state()[name], array, err_msg=name)
