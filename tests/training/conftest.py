"""What each watch looks up once and no test of the watch asks for."""

import pytest

import backlight.training.watching.watch as watching
from backlight.runs.provenance import provenance


@pytest.fixture(scope="session")
def versions():
    return provenance()


@pytest.fixture(autouse=True)
def _looked_up_once(monkeypatch, versions):
    monkeypatch.setattr(watching, "provenance", lambda: dict(versions))
