"""Whether the hub answers."""

import time

import huggingface_hub
import pytest

from backlight.foreign import hub as of_hub
from backlight.foreign.hub import local_only, why_unreachable
from zoo.hubs import SIGN_OF_LIFE, hub


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(of_hub, "_PAUSE", 0.0)


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"503 Service Unavailable"])
def test_a_hub_that_answers_is_there_whatever_it_says(monkeypatch, status):
    with hub(monkeypatch, b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n") as asked:
        assert why_unreachable() is None

    assert asked == [SIGN_OF_LIFE]


def test_a_hub_that_hangs_up_is_asked_twice_and_the_reason_is_told(monkeypatch):
    with hub(monkeypatch, b"") as asked:
        told = why_unreachable()

    assert asked == [SIGN_OF_LIFE] * 2
    assert told is not None
    assert told.startswith(f"The hub ({huggingface_hub.constants.ENDPOINT}) cannot be reached: ")
    assert told.endswith(". Without a network, HF_HUB_OFFLINE=1 saves asking.")


def test_a_hub_that_says_nothing_is_waited_for_as_long_as_its_client_would(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_ETAG_TIMEOUT", 0.5)
    began = time.monotonic()
    with hub(monkeypatch, None):
        told = why_unreachable()

    assert time.monotonic() - began < 5
    assert told is not None
    assert "no answer within 0.5 s (HF_HUB_ETAG_TIMEOUT)" in told or "timed out" in told


def test_a_hub_that_is_not_to_be_asked_is_not_asked(monkeypatch):
    with hub(monkeypatch, b"") as asked:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

        assert why_unreachable() == "The hub is not asked, as HF_HUB_OFFLINE is set."

    assert not asked


def test_libraries_look_at_the_cache_alone_only_while_they_are_to(monkeypatch):
    with hub(monkeypatch, b""):
        with local_only(False):
            assert not huggingface_hub.constants.HF_HUB_OFFLINE
        with local_only(True):
            assert huggingface_hub.constants.HF_HUB_OFFLINE
        assert not huggingface_hub.constants.HF_HUB_OFFLINE
