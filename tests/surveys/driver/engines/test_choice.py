"""Who measures what, on which device, with how many threads."""

import pytest
import torch

from backlight.surveys import SURVEYS
from backlight.surveys.driver.engines.choice import spread
from backlight.surveys.driver.engines.task import Task
from backlight.surveys.driver.starting import threads_each
from backlight.surveys.layers.options import LayersConfig


def devices(device, num_workers, num_devices):
    task = Task(
        survey=SURVEYS["layers"], options=LayersConfig(device=device), material={}, threads=1
    )
    return [each.options.device for each in spread(task, num_workers, num_devices)]


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_each_worker_has_a_device_of_its_own_as_far_as_there_are_several(device):
    assert devices(device, 3, 2) == ["cuda:0", "cuda:1", "cuda:0"]
    assert devices(device, 2, 1) == devices(device, 2, 0) == [device] * 2


def test_a_device_that_is_named_is_that_of_every_worker():
    assert devices("cpu", 2, 4) == ["cpu"] * 2
    assert devices("cuda:1", 2, 4) == ["cuda:1"] * 2


def test_threads_are_shared_here_and_one_each_on_a_cluster_unless_told(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert threads_each(LayersConfig(workers=2)) == 4
    assert threads_each(LayersConfig(workers=2, cluster="auto")) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert threads_each(LayersConfig(workers=2, cluster="auto")) == 8
