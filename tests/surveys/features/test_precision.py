"""`backlight sae` that stops when its numbers are sure enough."""

import numpy as np
import pytest
import torch

import backlight
from backlight.errors import ConfigError
from zoo.dictionaries import random_dictionary
from zoo.folders import lines
from zoo.stopping import stopping_after

pytestmark = pytest.mark.usefixtures("place", "no_figures")

NUM_ROWS = 300


@pytest.fixture
def rows():
    return lines(NUM_ROWS, seed=2)


@pytest.fixture
def sure(options, rows):
    """A survey that may stop before the end of its text."""
    layers = (0, 1)
    dictionaries = {
        layer: random_dictionary(32, dtype=torch.float32, seed=layer) for layer in layers
    }
    return {
        **options,
        "dataset": rows,
        "dictionaries": dictionaries,
        "site": "mlp.out",
        "allow_poor_reconstruction": True,
        "batch_size": 8,
        "position_stride": 1,
        "quiet": True,
    }


WAYS = [
    {"splice": "error", "precision": 0.03},
    {"splice": "replace", "precision": 0.03},
    {"splice": "error", "precision": 0.03, "precision_of": "top"},
    {"splice": "error", "aggregate_by": "values", "precision": 0.05},
]


def errors_by_layer(found):
    """The relative errors of the largest features of each layer, from the table of them."""
    table = found.tables["top_features"]
    size = np.asarray(table["mean_abs"])
    relative = np.asarray(table["mean_abs_se"]) / size
    for layer in sorted(set(table["layer"].tolist())):
        own = table["layer"] == layer
        yield size[own], relative[own]


@pytest.mark.parametrize("way", WAYS)
def test_it_measures_the_first_passages_of_the_drawn_order_that_are_enough(sure, rows, way):
    found = backlight.sae(**sure, **way)

    told = found.metadata["precision"]
    num = told["num_passages"]
    assert told["is_reached"]
    assert 64 <= num < NUM_ROWS
    drawn = [rows[place] for place in np.random.default_rng(0).permutation(NUM_ROWS)[:num]]
    all_of_it = {"dataset": drawn, "precision": None, "precision_of": "layers"}
    alone = backlight.sae(**{**sure, **way, **all_of_it})
    assert (found.tables["layers"]["num_sequences"] == num).all()
    assert found.metadata["num_tokens"] == alone.metadata["num_tokens"]
    np.testing.assert_allclose(
        found.tables["layers"]["mean_abs"], alone.tables["layers"]["mean_abs"], rtol=1e-5
    )
    by_layer = list(errors_by_layer(found))
    if told["of"] == "layers":
        by_layer = [errors[np.argsort(-size)[:20]] for size, errors in by_layer]
        expected = np.median([np.median(errors) for errors in by_layer])
    else:
        size, errors = (np.concatenate(each) for each in zip(*by_layer, strict=True))
        expected = np.median(errors[np.argsort(-size)[:20]])
    assert told["relative_error"] == pytest.approx(expected, rel=1e-9)


def test_a_resumed_survey_stops_at_the_same_place(sure, monkeypatch):
    from backlight.surveys.features.measure import setup

    way = WAYS[0]
    whole = backlight.sae(**sure, **way, output_dir="whole")
    with (
        stopping_after(setup, "survey_features", 12, seconds=5.0),
        pytest.raises(KeyboardInterrupt),
    ):
        backlight.sae(**sure, **way, output_dir="out")
    found = backlight.sae(**sure, **way, output_dir="out", resume=True)

    assert found.metadata["precision"] == whole.metadata["precision"]
    for name, array in whole.data.items():
        assert array.tobytes() == found.data[name].tobytes()


@pytest.mark.parametrize("mode", ["mean", "rms"])
def test_errors_that_are_not_known_on_the_way_are_refused(sure, mode):
    with pytest.raises(ConfigError, match="precision: while features are measured"):
        backlight.sae(**sure, splice="error", precision=0.1, aggregation_mode=mode)
