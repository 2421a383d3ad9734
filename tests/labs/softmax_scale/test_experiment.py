import numpy as np
import pytest
import torch

from backlight.decompose.softmax import softmax_jacobian
from backlight.labs.softmax_scale.experiment import experiment
from backlight.labs.softmax_scale.options import SoftmaxScaleConfig
from backlight.labs.softmax_scale.theory import gap_density, jacobian_norms, median_gap, peaked
from backlight.surveys.driver.trials import TrialRunner


@pytest.fixture(scope="module")
def findings():
    config = SoftmaxScaleConfig(
        seeds=4, num_queries=200, num_keys=(3,), widths=(16, 256, 1024, 4096), slope_from=256
    )
    return experiment(config, TrialRunner("cpu", None))


def _table(findings, name):
    (table,) = [table for table in findings.tables if table.name == name]
    return table


def test_the_norm_is_the_largest_eigenvalue_of_the_jacobian():
    scores = 2 * torch.randn(20, 6, dtype=torch.float64)

    expected = [torch.linalg.eigvalsh(softmax_jacobian(row.softmax(0)))[-1] for row in scores]

    torch.testing.assert_close(jacobian_norms(scores), torch.stack(expected))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.0, 0.0, 0.0, 0.0], 0.25),
        ([0.0, 0.0, -60.0], 0.5),
        ([2.0, 0.0, 0.0], 0.25146),
        ([10.0, 0.0, 0.0], 1.3618e-4),
        ([80.0, 0.0, 0.0], 3 * np.exp(-80.0)),
        ([300.0, 0.0], 2 * np.exp(-300.0)),
    ],
    ids=str,
)
def test_the_norm_is_exact_however_peaked_the_softmax(scores, expected):
    found = jacobian_norms(torch.tensor([scores], dtype=torch.float64)).item()

    assert found == pytest.approx(expected, rel=5e-5)


@pytest.mark.parametrize("keys", [2, 3, 8])
def test_the_norm_of_a_peak_is_the_number_of_keys_times_its_two_weights(keys):
    weights, norm = peaked(1.7, keys)

    assert norm == pytest.approx((keys * weights[0] * weights[1]).item())


def test_gaps_between_the_largest_two_are_as_drawn():
    drawn = np.sort(np.random.default_rng(0).standard_normal((200_000, 5)), axis=1)
    gaps = drawn[:, -1] - drawn[:, -2]

    assert median_gap(5) == pytest.approx(np.median(gaps), rel=0.02)
    assert gap_density(5) == pytest.approx((gaps < 0.05).mean() / 0.05, rel=0.05)


def test_the_gap_of_two_numbers_has_its_density_in_closed_form():
    assert gap_density(2) == pytest.approx(1 / np.sqrt(np.pi))


def test_the_examples_have_the_exact_numbers(findings):
    exact = _table(findings, "exact")

    assert exact["softmax"][0] == "0.78699 0.10651 0.10651"
    np.testing.assert_allclose(exact["jacobian_norm"], [0.25146, 1.3618e-4], rtol=5e-5)
    np.testing.assert_allclose(exact["jacobian_norm"], exact["theory_3_p1_p2"], rtol=1e-9)


def test_without_the_factor_the_mean_norm_falls_with_the_root_of_the_width(findings):
    slopes = _table(findings, "slopes")
    means = slopes.select(slopes["slope_of"] == "ln mean / ln d")
    scaled, raw = means["slope"]

    assert raw == pytest.approx(-0.5, abs=0.12)
    assert scaled == pytest.approx(0, abs=0.03)


def test_without_the_factor_the_mean_norm_is_the_density_of_ties(findings):
    widths = _table(findings, "widths")
    far = widths.select((widths["scores"] == "without") & (widths["width"] > 1000))

    np.testing.assert_allclose(far["norm"], far["theory"], rtol=0.25)


def test_no_norm_is_outside_its_bounds(findings):
    assert (_table(findings, "widths")["outside"] == 0).all()


def test_independent_scores_go_from_even_weights_to_ties(findings):
    scales = _table(findings, "scales")
    known = ~np.isnan(scales["limits"])

    np.testing.assert_allclose(scales["norm"][known], scales["limits"][known], rtol=0.3)
