"""What each watch looks up once and no test of the watch asks for."""

import pytest

from backlight.runs.provenance import provenance
from backlight.training.watch import watch


@pytest.fixture(scope="session")
def versions():
    return provenance()


@pytest.fixture(autouse=True)
def _looked_up_once(monkeypatch, versions):
    monkeypatch.setattr(watch, "provenance", lambda: dict(versions))
