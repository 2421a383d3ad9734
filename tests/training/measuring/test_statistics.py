"""Statistics of many tensors at once, against each computed alone in the plainest way."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backlight.training.measuring import statistics
from backlight.training.measuring.statistics import gradient_statistics, norms


def naive(tensor, near_zero=1e-7):
    flat = tensor.detach().double().flatten()
    return {
        "mean": flat.mean().item(),
        "std": flat.std(correction=0).item(),
        "max_abs": flat.abs().max().item(),
        "norm": flat.norm().item(),
        "near_zero": (flat.abs() < near_zero).double().mean().item(),
        "zero": (flat == 0).double().mean().item(),
        "num_nan": flat.isnan().sum().item(),
        "num_inf": flat.isinf().sum().item(),
        "smallest": smallest_of(flat),
    }


def smallest_of(flat):
    others = flat[flat != 0]
    some = flat.isfinite().all() and 0 < len(others) < len(flat)
    return others.abs().min().item() if some else math.nan


def check(tensors, found, rtol, near_zero=1e-7):
    for place, tensor in enumerate(tensors):
        expected = naive(tensor, near_zero)
        for name, values in found.items():
            limit = rtol * (expected["max_abs"] if name == "mean" else abs(expected[name]))
            np.testing.assert_allclose(
                values[place], expected[name], rtol=0, atol=limit, err_msg=name, equal_nan=True
            )


def varied(dtype):
    torch.manual_seed(1)
    return [
        torch.randn(3, 5, dtype=torch.float64).to(dtype),
        (1e-7 * torch.randn(700, dtype=torch.float64)).to(dtype),
        torch.randn(40, 30, dtype=torch.float64).t().to(dtype).clamp_min(0),
        torch.full((), -0.5, dtype=dtype),
        (1 + 1e-3 * torch.randn(300_000, dtype=torch.float64)).to(dtype),
        torch.zeros(9, dtype=dtype),
    ]


@pytest.mark.parametrize(
    ("dtype", "rtol"), [(torch.float64, 1e-13), (torch.float32, 2e-4), (torch.bfloat16, 2e-4)]
)
def test_statistics_are_those_of_each_tensor_alone(dtype, rtol):
    tensors = varied(dtype)
    found = gradient_statistics(tensors)
    check(tensors, found, rtol if dtype != torch.float64 else 1e-12)


def test_it_does_not_matter_how_tensors_are_cut(monkeypatch):
    tensors = varied(torch.float64)
    whole = gradient_statistics(tensors)
    monkeypatch.setattr(statistics, "_PIECE", 4096)
    cut = gradient_statistics(tensors)
    for name in whole:
        np.testing.assert_allclose(cut[name], whole[name], rtol=1e-11, atol=1e-15)


bad = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1e-9, 1.0, -2.0])


@settings(max_examples=30)
@given(st.lists(bad, min_size=1, max_size=6), st.lists(bad, min_size=1, max_size=6))
def test_nan_and_infinity_are_counted_and_never_dropped(first, second):
    tensors = [torch.tensor(first).double(), torch.tensor(second).double()]
    check(tensors, gradient_statistics(tensors), 1e-12)


def test_the_threshold_of_near_zero_is_strict():
    tensor = torch.tensor([1e-8, 1e-7, 1e-6, 0.0, 0.1], dtype=torch.float64)
    assert gradient_statistics([tensor])["near_zero"][0] == 0.4
    assert gradient_statistics([tensor], near_zero=2e-7)["near_zero"][0] == 0.6


def test_types_may_be_mixed_and_tensors_sparse_or_empty():
    sparse = torch.sparse_coo_tensor(
        torch.tensor([[1, 1, 3]]), torch.tensor([1.0, 2.0, 4.0]), (5,), check_invariants=True
    )
    tensors = [torch.ones(2).half(), sparse, torch.ones(3).double(), torch.ones(0)]
    found = gradient_statistics(tensors)
    np.testing.assert_allclose(found["norm"], [math.sqrt(2), 5.0, math.sqrt(3), 0.0], rtol=1e-6)
    assert norms(tensors).tolist() == found["norm"].tolist()
    assert found["zero"].tolist() == [0.0, 0.6, 0.0, 0.0]


def test_half_precision_does_not_overflow():
    tensor = torch.full((100_000,), 60_000.0, dtype=torch.float16)
    found = gradient_statistics([tensor])
    np.testing.assert_allclose(found["norm"][0], tensor.double().norm().item(), rtol=1e-5)
    assert found["num_inf"][0] == 0


def test_nothing_has_no_statistics():
    assert all(values.shape == (0,) for values in gradient_statistics([]).values())
