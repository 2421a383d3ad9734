"""The simulation of many workers that ``benchmarks/scale.py`` prints."""

import sys

import pytest

from zoo.folders import lines, save_causal
from zoo.scripts import benchmark


@pytest.fixture(scope="module")
def scale():
    with benchmark("scale") as module:
        yield module


def test_this_process_alone_measures_and_merges_in_turn(scale):
    cost = scale.Cost(tokens=1, measure=3.0, merge=0.5, size=1)
    assert scale.seconds(cost, 1, shards=4) == 4 * (3.0 + 0.5)


def test_more_workers_than_shards_wait_for_the_merge_alone(scale):
    cost = scale.Cost(tokens=1, measure=3.0, merge=0.5, size=1)
    assert scale.seconds(cost, 1000, shards=4) == 3.0 + 4 * 0.5


def test_merging_bounds_a_run_from_below_however_many_work(scale):
    cost = scale.Cost(tokens=1, measure=1.0, merge=0.1, size=1)
    assert scale.crossing(cost) == pytest.approx(10)
    times = [scale.seconds(cost, workers, shards=1000) for workers in (1, 10, 100, 1000)]
    assert times[0] == pytest.approx(1000 * 1.1)
    assert times == sorted(times, reverse=True)
    assert times[-1] == pytest.approx(1.0 + 1000 * 0.1)


def test_a_worker_goes_on_while_its_state_is_merged(scale):
    cost = scale.Cost(tokens=1, measure=3.0, merge=0.5, size=1)
    assert (
        scale.seconds(cost, 2, shards=4) == 2 * 3.0 + 2 * 0.5
    )  # the second waits once for the first


def test_only_states_with_rows_grow_with_what_was_seen(scale):
    cost = scale.Cost(tokens=100, measure=1.0, merge=0.1, size=10)
    fixed, rows = cost.of(400, levels=None), cost.of(400, levels=2.0)
    assert fixed == scale.Cost(tokens=400, measure=4.0, merge=0.1, size=10)
    assert rows == scale.Cost(tokens=400, measure=4.0, merge=0.8, size=40)


def test_shards_of_a_real_text_are_measured_and_a_line_is_kept_of_each_survey(
    scale, tmp_path, monkeypatch, capsys
):
    text, readme = tmp_path / "text.txt", tmp_path / "README.md"
    text.write_text("\n".join(lines(40)))
    readme.write_text(f"before\n{scale.BEGIN}\nold\n{scale.END}\nafter\n")
    monkeypatch.setattr(scale, "README", readme)
    model = str(save_causal(tmp_path / "model"))
    words = ["--model_name", model, "--dataset", str(text), "--shards", "3", "--tokens", "50"]
    monkeypatch.setattr(sys, "argv", ["scale.py", *words, "--surveys", "layers", "flow", "--keep"])

    scale.main()

    kept = readme.read_text()
    assert "| layers | 2,048 |" in kept
    assert "| flow | 2,048 |" in kept
    assert kept.startswith("before\n")
    assert kept.endswith(f"{scale.END}\nafter\n")
    assert "old" not in kept
    assert "3 shards of about 50 tokens" in capsys.readouterr().out
