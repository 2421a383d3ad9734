"""A cluster that is not there, or does not let one in."""

import re
import socket
import sys
from types import SimpleNamespace

import pytest

from backlight import cli
from backlight.errors import ConfigError, WorkerError
from backlight.surveys.driver.engines import cluster

INSTALL = re.escape("pip install 'backlight[cluster]'")


@pytest.fixture
def ray(monkeypatch):
    fake = SimpleNamespace(
        is_initialized=lambda: True,
        exceptions=SimpleNamespace(RayError=LookupError),
        shutdown=lambda: pytest.fail("who joined leaves"),
        init=lambda *_, **__: pytest.fail("it was joined before"),
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_without_ray_it_is_said_how_it_is_installed_before_anything_is_loaded(
    survey, place, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(
        "backlight.surveys.driver.material.opening.load_subject", lambda *_, **__: 1 / 0
    )

    assert cli.main(survey(output_dir="out", cluster="auto")) == 2

    assert re.search(rf"needs Ray, here and on every machine .*{INSTALL}", capsys.readouterr().err)
    assert not (place / "out").exists()


def test_an_address_at_which_nobody_answers_is_refused_before_anything_is_loaded(
    ray, survey, place, monkeypatch, capsys
):
    monkeypatch.setattr(
        "backlight.surveys.driver.material.opening.load_subject", lambda *_, **__: 1 / 0
    )

    assert cli.main(survey(output_dir="out", cluster=f"ray://127.0.0.1:{free_port()}")) == 1

    assert re.search(
        r"nobody answers at 'ray://127\.0\.0\.1:\d+' .*ray start --head", capsys.readouterr().err
    )
    assert not (place / "out").exists()


@pytest.mark.parametrize("address", ["here", "ray://", "ray://host", "http://host:1", "ray://a:b"])
def test_what_is_no_address_is_refused(survey, address, capsys):
    assert cli.main(survey(cluster=address)) == 2

    assert "cluster: String should match pattern" in capsys.readouterr().err


def test_a_port_that_cannot_be_is_refused(ray):
    with pytest.raises(WorkerError, match="nobody answers at 'ray://localhost:70000'"):
        cluster.refuse_unreachable("ray://localhost:70000")


def test_a_cluster_that_the_caller_has_joined_is_used_and_not_left(ray):
    with cluster.joined("auto") as found:
        assert found is ray


def test_a_cluster_that_lets_nobody_in_is_an_error_that_says_what_ray_says(ray):
    def refuse(address, **_):
        assert address == "ray://head:10001"
        raise RuntimeError("Version mismatch: the cluster was started with Ray 2.1")

    ray.init = refuse

    with (
        pytest.raises(
            WorkerError, match=r"'ray://head:10001' could not be joined: .*Ray 2\.1.*=token"
        ),
        cluster.joined("ray://head:10001"),
    ):
        pytest.fail("nobody is in")


def test_a_cluster_that_was_joined_is_left_also_after_an_error(ray):
    came = []
    ray.is_initialized = lambda: False
    ray.init = lambda address, **_: came.append(address)
    ray.shutdown = lambda: came.append("left")

    with pytest.raises(ConfigError, match="in between"), cluster.joined("auto"):
        raise ConfigError("in between")

    assert came == [None, "left"]
