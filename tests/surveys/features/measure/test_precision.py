"""How sure the numbers of features are, from the state of a survey."""

import numpy as np
import pytest
import torch

from backlight.errors import ConfigError
from backlight.stats.base import prefixed
from backlight.stats.ratio import Ratios
from backlight.surveys.features.measure.precision import errors_of

LAYERS, NUM_FEATURES, NUM_PASSAGES = (2, 5), 50, 30


@pytest.fixture
def seen():
    """Sums of each passage, by layer: a tenth of the features never fires."""
    random = np.random.default_rng(0)
    scale = 10.0 ** random.uniform(-3, 0, size=NUM_FEATURES)
    scale[::10] = 0
    lengths = random.integers(4, 20, size=NUM_PASSAGES).astype(float)
    return {
        layer: (random.gamma(1.0, size=(NUM_PASSAGES, NUM_FEATURES)) * scale, lengths)
        for layer in LAYERS
    }


def state_of(seen, place):
    """The state of a survey that has seen it, with other arrays among it."""
    ratios = {}
    for layer, (above, lengths) in seen.items():
        ratios[layer] = Ratios(NUM_FEATURES, shared_below=True)
        ratios[layer].update(torch.from_numpy(above), torch.from_numpy(lengths)[:, None])
    found = prefixed({f"{layer}/{place}": each for layer, each in ratios.items()})
    return {**found, "position": np.zeros(3), "2/nats": np.ones(())}


def errors_by_hand(above, lengths):
    """Leave one passage out at a time (the jackknife), which is another way to the errors."""
    ratio = above.sum(axis=0) / lengths.sum()
    without = (above.sum(axis=0) - above) / (lengths.sum() - lengths)[:, None]
    spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    error = np.sqrt((len(lengths) - 1) / len(lengths) * spread)
    return ratio, error


@pytest.mark.parametrize(
    ("place", "mode", "is_dense"),
    [("absolute", "mean_abs", True), ("sparse/mean", "mean", False)],
)
def test_of_a_layer_the_median_over_its_largest_features_counts(seen, place, mode, is_dense):
    errors = errors_of(LAYERS, mode, "layers", is_dense=is_dense)

    found = errors.relative(errors.part(state_of(seen, place)))

    for error, (above, lengths) in zip(found, seen.values(), strict=True):
        ratio, by_hand = errors_by_hand(above, lengths)
        largest = np.argsort(-ratio)[:20]
        assert error == pytest.approx(np.median(by_hand[largest] / ratio[largest]), rel=0.1)


def test_the_largest_features_may_be_in_any_layer(seen):
    seen[2][0][:] *= 1000
    errors = errors_of(LAYERS, "mean_abs", "top", is_dense=True)

    found = errors.relative(errors.part(state_of(seen, "absolute")))

    ratio, by_hand = errors_by_hand(*seen[2])
    largest = np.argsort(-ratio)[:20]
    np.testing.assert_allclose(found, by_hand[largest] / ratio[largest], rtol=0.2)


def test_sums_of_parts_give_the_errors_of_the_whole(seen):
    errors = errors_of(LAYERS, "mean_abs", "layers", is_dense=True)
    halves = [
        {layer: (above[rows], lengths[rows]) for layer, (above, lengths) in seen.items()}
        for rows in (slice(0, 13), slice(13, None))
    ]

    first, second = (errors.part(state_of(half, "absolute")) for half in halves)
    together = {name: first[name] + second[name] for name in first}

    whole = errors.relative(errors.part(state_of(seen, "absolute")))
    np.testing.assert_allclose(errors.relative(together), whole, rtol=1e-9)


@pytest.mark.parametrize(("mode", "is_dense"), [("rms", False), ("rms", True), ("mean", True)])
def test_what_a_state_does_not_say_is_refused(mode, is_dense):
    with pytest.raises(ConfigError, match="use --aggregation_mode mean_abs"):
        errors_of(LAYERS, mode, "layers", is_dense=is_dense)
