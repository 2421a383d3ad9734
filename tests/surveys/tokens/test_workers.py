"""`backlight tokens` measured by several processes, and in parts."""

import multiprocessing

import pytest

import backlight
from backlight import cli
from backlight.errors import ConfigError
from backlight.models.loading import load_subject
from backlight.surveys.tokens import figures
from backlight.world import CITY_MODEL
from zoo.folders import numbers


@pytest.fixture
def words(place, monkeypatch):
    """A survey of more prompts than one shard has."""
    monkeypatch.setattr(figures, "draw", lambda results: iter(()))
    return [
        "--task_type",
        "distance",
        "--n_samples",
        "200",
        "--target_layers",
        "1",
        "--batch_size",
        "20",
        "--quiet",
    ]


@pytest.mark.slow  # each worker loads PyTorch and the model
def test_workers_find_the_bytes_of_one_process(words, place):
    assert cli.main(["tokens", *words, "--output_dir", "alone"]) == 0

    assert cli.main(["tokens", *words, "--output_dir", "together", "--workers", "2"]) == 0

    assert not multiprocessing.active_children()
    assert numbers(place / "together") == numbers(place / "alone")


def test_parts_find_the_bytes_of_one_process(words, place):
    assert cli.main(["tokens", *words, "--output_dir", "alone"]) == 0

    assert cli.main(["plan", "tokens", *words, "--output_dir", "parts"]) == 0
    for part in ("1/2", "0/2"):
        assert cli.main(["worker", "parts", "--part", part]) == 0
    assert cli.main(["merge", "parts"]) == 0

    assert numbers(place / "parts") == numbers(place / "alone")


def test_a_model_in_memory_cannot_be_given_to_workers():
    subject = load_subject(str(CITY_MODEL / "final"))

    with pytest.raises(ConfigError, match="other processes cannot be given a model or data in"):
        backlight.tokens(subject=subject, task_type="distance", workers=2)
