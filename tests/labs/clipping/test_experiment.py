import numpy as np
import pytest
import torch

from backlight.labs.clipping.experiment import experiment, strong_limits
from backlight.labs.clipping.options import ClippingConfig
from backlight.labs.clipping.spiky_learning import (
    METHODS,
    Clip,
    SpikyTask,
    cosine,
    match_thresholds,
)
from backlight.surveys.driver.trials import TrialRunner

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def findings():
    return experiment(ClippingConfig(num_steps=60, seeds=2), TrialRunner("cpu", None))


@pytest.fixture
def gradient():
    return [torch.randn(4, 3, dtype=torch.float64), 10 * torch.randn(5, dtype=torch.float64)]


def test_the_global_norm_is_divided_out_of_all_parameters_alike(gradient):
    length = sum(part.square().sum() for part in gradient).sqrt()

    clipped = Clip("global norm", 0.5)(gradient)

    for part, raw in zip(clipped, gradient, strict=True):
        torch.testing.assert_close(part, raw * 0.5 / (length + 1e-6))
    assert cosine(clipped, gradient) == pytest.approx(1, abs=1e-14)


def test_each_parameter_is_clipped_by_its_own_norm(gradient):
    clipped = Clip("each parameter", 0.5)(gradient)

    for part in clipped:
        assert torch.linalg.vector_norm(part).item() == pytest.approx(0.5, rel=1e-5)


def test_values_are_clipped_one_by_one(gradient):
    clipped = Clip("value", 0.5)(gradient)

    for part, raw in zip(clipped, gradient, strict=True):
        torch.testing.assert_close(part, raw.clamp(-0.5, 0.5))


@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_below_the_threshold_is_left_as_it_is(method, gradient):
    before = [part.clone() for part in gradient]

    clipped = Clip(method, 1e6)(gradient)

    for part, raw, kept in zip(clipped, gradient, before, strict=True):
        assert torch.equal(part, raw)
        assert torch.equal(raw, kept)


@pytest.mark.parametrize("clip_at", [0.03, 0.3, 1.0])
def test_matched_thresholds_leave_the_same_mean_length(clip_at):
    task = SpikyTask(ClippingConfig(), 0, CPU)
    pilots = [task.gradient(task.network()) for _ in range(20)]

    matched = match_thresholds(pilots, clip_at)

    lengths = [
        np.mean(
            [
                torch.cat([part.flatten() for part in Clip(method, matched[method])(pilot)]).norm()
                for pilot in pilots
            ]
        )
        for method in METHODS
        if method != "none"
    ]
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_the_strongest_clip_has_the_cosine_that_is_predicted(method, gradient):
    threshold = np.inf if method == "none" else 1e-3 * min(part.abs().min() for part in gradient)

    clipped = Clip(method, float(threshold))(gradient)

    assert cosine(clipped, gradient) == pytest.approx(strong_limits(gradient)[method], abs=1e-3)


def test_every_method_begins_with_the_same_network_and_batches():
    task = SpikyTask(ClippingConfig(num_steps=20), 3, CPU)

    first, again = task.learn(Clip("none", np.inf)), task.learn(Clip("none", np.inf))

    np.testing.assert_array_equal(first["error"], again["error"])
    assert task.learn(Clip("value", 0.01))["error"][0] == first["error"][0]


def test_a_training_that_diverges_has_an_infinite_error():
    task = SpikyTask(ClippingConfig(num_steps=400, learning_rate=1e3), 0, CPU)

    found = task.learn(Clip("none", np.inf))

    assert np.isinf(found["error"][-1])
    assert np.isnan(found["cosine"][-1])


def test_only_the_global_norm_keeps_the_direction(findings):
    methods = findings.tables[0]
    _, kept, by_parameter, by_value = methods["cosine_least"]

    assert list(methods["method"]) == list(METHODS)
    assert kept == pytest.approx(1, abs=1e-12)
    assert max(by_parameter, by_value) < 0.999


def test_torch_divides_by_a_little_more_than_the_norm(findings):
    (factors,) = [table for table in findings.tables if table.name == "torch_factor"]

    np.testing.assert_allclose(factors["torch"], factors["theory"], rtol=1e-6)
    assert factors["torch"][0] < 0.1 < factors["max_norm_over_norm"][0]
