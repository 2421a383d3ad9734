"""The shipped dictionary on the real model, against autograd with its features as leaves."""

import numpy as np
import pytest
import torch

from backlight import find_dictionaries, load_subject
from backlight.data.batches import Batch, bucket, tokenize
from backlight.data.corpora import RowReader
from backlight.surveys.features.measure.feature_pass import feature_pass
from backlight.surveys.features.measure.fidelity import check_fidelity
from backlight.surveys.features.measure.placed import PlacedDictionary, sites_of
from backlight.surveys.features.measure.plan import FeaturePlan
from backlight.surveys.features.measure.survey import FeatureSurvey, survey_features
from zoo.oracles import explicit

pytestmark = pytest.mark.slow

LAYER = 15
TOLERANCE = {"float32": 1e-3, "float64": 1e-6}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("splice", ["replace", "error"])
def test_feature_gradients_on_smollm2_are_those_of_autograd(dtype, splice):
    subject = load_subject("smollm2", device="cpu", dtype=dtype)
    passages = tokenize(RowReader("shakespeare").first(4), subject.tokenizer, max_length=48)
    found = find_dictionaries("smollm2")
    dictionary = found.load(LAYER, dtype=getattr(torch, dtype), device=subject.device)
    reads, writes = sites_of(found.cards[LAYER], LAYER, subject)
    batches = bucket(passages, batch_size=2, seed=0)
    fidelity = check_fidelity(
        subject, Batch.of(passages, batches[0]), dictionary, reads=reads, writes=writes
    )
    placed = PlacedDictionary(
        layer=LAYER,
        reads=reads,
        writes=writes,
        card=dictionary.card,
        fidelity=fidelity,
        load=lambda: dictionary,
    )
    path = f"model.layers.{LAYER}.mlp"
    oracle = explicit(subject, passages, dictionary, path, splice, 2)
    gradients = np.concatenate(oracle.gradients)
    fires = np.concatenate(oracle.features) != 0
    products = gradients * np.concatenate(oracle.features)
    wanted = {
        ("gradients", False): (gradients, len(gradients)),
        ("gradients", True): (gradients * fires, np.maximum(fires.sum(0), 1)),
        ("grad_x_act", False): (products, len(products)),
    }
    assert fidelity.quality.explained_variance > 0.5
    for (quantity, active_only), (rows, count) in wanted.items():
        plan = FeaturePlan(splice=splice, quantity=quantity, active_only=active_only, stride=2)
        state = FeatureSurvey(plan, [placed])
        steps = survey_features(
            feature_pass(subject, plan),
            passages,
            batches,
            state,
            dictionaries=[placed],
            chunk_bytes=10**8,
        )
        list(steps)
        statistics = state.layers[LAYER].statistics(dictionary.rows)
        mean, mean_abs, rms = (
            np.nan_to_num(statistics[name]) for name in ("mean", "mean_abs", "rms")
        )
        for values, expected in (
            (mean, rows.sum(0) / count),
            (mean_abs, np.abs(rows).sum(0) / count),
            (rms, np.sqrt((rows**2).sum(0) / count)),
        ):
            size = np.abs(expected).max()
            np.testing.assert_allclose(values, expected, rtol=0, atol=TOLERANCE[dtype] * size)
