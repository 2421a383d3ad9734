"""`backlight flow` over a corpus of several shards."""

from functools import partial

import numpy as np
import pytest

import backlight
from backlight import cli
from backlight.runs.shards import cut
from backlight.surveys.driver.shards import sharding
from backlight.surveys.flow.measure import setup
from zoo.folders import numbers
from zoo.stopping import stopping

pytestmark = pytest.mark.usefixtures("place")


def cut_at(monkeypatch, least):
    monkeypatch.setattr(sharding, "cut", partial(cut, least=least))


def test_shards_give_the_numbers_of_the_whole(options, monkeypatch):
    at_once = backlight.flow(**options)
    merged, real = [], sharding.Sharding.join

    def counting(self, first, second):
        merged.append(len(self.shards))
        return real(self, first, second)

    monkeypatch.setattr(sharding.Sharding, "join", counting)
    cut_at(monkeypatch, 70)
    by_shards = backlight.flow(**options)

    assert merged == [3, 3]
    for name, table in at_once.tables.items():
        for column, values in table.columns.items():
            found = by_shards.tables[name][column]
            if np.asarray(values).dtype.kind == "f":
                # An error of a ratio that is the same everywhere is the root of a rounding error.
                np.testing.assert_allclose(found, values, rtol=1e-9, atol=1e-7)
            else:
                np.testing.assert_array_equal(found, values)


def test_stopped_in_a_shard_a_survey_goes_on_to_the_same_bytes(survey, place, monkeypatch):
    cut_at(monkeypatch, 70)
    words = ["flow", *survey(figures="none")[1:]]
    assert cli.main([*words, "--output_dir", "whole"]) == 0
    with stopping(setup, "survey_flow", 1):
        assert cli.main([*words, "--output_dir", "out"]) == 130

    assert cli.main([*words, "--output_dir", "out", "--resume"]) == 0

    assert numbers(place / "out") == numbers(place / "whole")


def test_parts_find_the_bytes_of_one_process_with_groups_of_passages(options, place, monkeypatch):
    cut_at(monkeypatch, 70)
    words = ["flow", *(f"--{name}={value}" for name, value in options.items()), "--figures=none"]
    assert cli.main([*words, "--output_dir", "alone"]) == 0

    assert cli.main(["plan", *words, "--output_dir", "parts"]) == 0
    for part in ("1/2", "0/2"):
        assert cli.main(["worker", "parts", "--part", part]) == 0
    assert cli.main(["merge", "parts"]) == 0

    found = numbers(place / "parts")
    assert found == numbers(place / "alone")
    assert "passage_groups/norms.npz/gradient_norm/square" in found
