"""The simulation of many workers that ``benchmarks/scale.py`` prints."""

import importlib.util
import sys
from pathlib import Path

import pytest

_PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "scale.py"


@pytest.fixture(scope="module")
def scale():
    spec = importlib.util.spec_from_file_location("benchmark_scale", _PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_one_worker_waits_for_each_merge(scale):
    cost = scale.Cost(measure=3.0, merge=0.5, size=1)
    assert scale.seconds(cost, 1, shards=4) == 4 * (3.0 + 0.5)


def test_more_workers_than_shards_wait_for_the_merge_alone(scale):
    cost = scale.Cost(measure=3.0, merge=0.5, size=1)
    assert scale.seconds(cost, 1000, shards=4) == 3.0 + 4 * 0.5


def test_merging_bounds_a_run_from_below_however_many_work(scale):
    cost = scale.Cost(measure=1.0, merge=0.1, size=1)
    assert scale.crossing(cost) == pytest.approx(10)
    times = [scale.seconds(cost, workers, shards=1000) for workers in (1, 10, 100, 1000)]
    assert times[0] == pytest.approx(1000 * 1.1)
    assert times == sorted(times, reverse=True)
    assert times[-1] == pytest.approx(1.0 + 1000 * 0.1)
