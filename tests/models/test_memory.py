"""How much memory is free, as the system's files say it."""

import pytest
import torch

from backlight.models import memory

CPU = torch.device("cpu")


@pytest.fixture
def files(monkeypatch, tmp_path):
    """Stand in for the files in which Linux says what is free."""
    paths = {name: tmp_path / name for name in ("_MEMORY", "_LIMIT", "_USED")}
    for name, path in paths.items():
        monkeypatch.setattr(memory, name, path)
    return paths


def test_free_is_what_the_system_has_available(files):
    files["_MEMORY"].write_text("MemTotal: 9 kB\nMemAvailable:     4 kB\n")
    assert memory.free_memory(CPU) == 4096


@pytest.mark.parametrize(("limit", "free"), [("max", 4096), ("1500", 500), ("99999", 4096)])
def test_a_container_may_have_less(files, limit, free):
    files["_MEMORY"].write_text("MemAvailable:     4 kB\n")
    files["_LIMIT"].write_text(f"{limit}\n")
    files["_USED"].write_text("1000\n")
    assert memory.free_memory(CPU) == free


def test_a_system_that_says_nothing_is_not_asked_further(files):
    assert memory.free_memory(CPU) is None
