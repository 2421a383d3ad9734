"""`backlight plan`, `worker` and `merge`."""

import re
import shutil
from functools import partial

import pytest

from backlight import cli
from backlight.runs.shards import cut
from backlight.surveys.driver.shards import sharding
from zoo.folders import contents, numbers

pytestmark = pytest.mark.usefixtures("place", "no_figures")

LEAST = {1: 1000, 3: 70}


@pytest.fixture(params=[1, 3], ids=["one shard", "three shards"])
def num_shards(request, monkeypatch):
    monkeypatch.setattr(sharding, "cut", partial(cut, least=LEAST[request.param]))
    return request.param


def planned(survey, **options):
    return cli.main(["plan", *survey(**options)])


def test_parts_in_one_directory_give_the_bytes_of_a_run(survey, place, num_shards, capsys):
    assert cli.main(survey(output_dir="whole")) == 0
    capsys.readouterr()
    assert planned(survey, output_dir="out") == 0
    assert re.search(rf"^{num_shards} shards? in out\. Measure them with", capsys.readouterr().out)
    for part in ("1/2", "0/2"):
        assert cli.main(["worker", "out", "--part", part]) == 0

    assert cli.main(["merge", "out"]) == 0

    assert numbers(place / "out") == numbers(place / "whole")
    assert not (place / "out" / "shards").exists()


@pytest.mark.parametrize(
    "way",
    [
        {"path": 2, "layers": "0,2"},
        {"aggregate_by": "fisher"},
        {"aggregate_by": "hessian_diagonal", "layers": "2"},
        {"aggregate_by": "grad_x_act", "aggregation_mode": "both"},
    ],
    ids=str,
)
def test_whatever_is_measured_parts_give_the_bytes_of_a_run(survey, place, monkeypatch, way):
    monkeypatch.setattr(sharding, "cut", partial(cut, least=70))
    assert cli.main(survey(**way, output_dir="whole")) == 0
    assert planned(survey, **way, output_dir="out") == 0
    for part in ("1/2", "0/2"):
        assert cli.main(["worker", "out", "--part", part]) == 0

    assert cli.main(["merge", "out"]) == 0

    assert numbers(place / "out") == numbers(place / "whole")


def test_copies_of_a_directory_are_put_together_by_copying(survey, place, num_shards):
    assert cli.main(survey(output_dir="whole")) == 0
    assert planned(survey, output_dir="here") == 0
    shutil.copytree(place / "here", place / "there")
    assert cli.main(["worker", "here", "--part", "0/2"]) == 0
    assert cli.main(["worker", "there", "--part", "1/2"]) == 0

    shutil.copytree(place / "there", place / "here", dirs_exist_ok=True)

    assert cli.main(["merge", "here"]) == 0
    assert numbers(place / "here") == numbers(place / "whole")


def test_merge_says_what_is_missing_and_changes_nothing(survey, place, monkeypatch, capsys):
    monkeypatch.setattr(sharding, "cut", partial(cut, least=70))
    assert planned(survey, output_dir="out") == 0
    assert cli.main(["worker", "out", "--part", "1/2"]) == 0
    before = contents(place / "out")

    assert cli.main(["merge", "out"]) == 2

    assert (
        "2 of 3 shards of the run in 'out' are not measured yet (0, 2)" in capsys.readouterr().err
    )
    assert contents(place / "out") == before


def test_the_part_is_that_of_the_launcher_if_it_is_not_told(survey, place, monkeypatch, capsys):
    monkeypatch.setattr(sharding, "cut", partial(cut, least=70))
    assert planned(survey, output_dir="out") == 0
    assert cli.main(["worker", "out"]) == 2
    assert "Give --part I/N" in capsys.readouterr().err
    assert cli.main(["worker", "out", "--part", "2/2"]) == 2
    assert "parts are counted from 0, so of 2 none is 2" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")

    assert cli.main(["worker", "out"]) == 0

    assert "1 shards measured of part 1/2 in out" in capsys.readouterr().out


def test_a_run_that_was_not_planned_has_no_parts(survey, place, capsys):
    (place / "mine").mkdir()

    assert cli.main(["worker", "mine", "--part", "0/1"]) == 2

    assert "is not a run directory" in capsys.readouterr().err


def test_a_plan_needs_a_directory(survey, capsys):
    assert planned(survey) == 2

    assert "name --output_dir" in capsys.readouterr().err
