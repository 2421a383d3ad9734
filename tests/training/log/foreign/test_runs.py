"""Steps that go back, occur twice or are missing: which of them are the run that is judged."""

import json
import random

import numpy as np
import pytest

from backlight.training.log.reading import read_history
from zoo.logs import CURVE, json_lines

ROWS = json_lines().splitlines()
STEPS = [row[0] for row in CURVE]


def row(step, loss, norm=1.0, **more):
    return json.dumps({"step": step, "loss": loss, "grad_norm": norm, **more})


@pytest.fixture
def read(tmp_path):
    """Write lines and read them as a log."""

    def write(lines):
        path = tmp_path / "log.jsonl"
        path.write_text("\n".join(lines) + "\n")
        return read_history(path)

    return write


def losses_by_step(history):
    return dict(zip(history.loss_steps.tolist(), history.losses.tolist(), strict=True))


def test_of_a_run_that_was_started_again_the_last_one_is_judged(read):
    history = read([*ROWS, *(row(step, 9.0) for step in STEPS[:20])])

    assert losses_by_step(history) == dict.fromkeys(STEPS[:20], 9.0)
    assert history.steps.tolist() == STEPS[:20]
    assert (
        "It holds 2 runs, and only the last is judged: steps begin again at line 61."
        in history.understood
    )


def test_of_three_runs_the_last_one_is_judged(read):
    history = read([*ROWS[:9], *ROWS[:5], row(5, 7.0), row(10, 8.0)])

    assert losses_by_step(history) == {5: 7.0, 10: 8.0}
    assert "It holds 3 runs" in history.understood


def test_a_run_that_was_resumed_is_one_run_with_the_newer_steps(read):
    history = read([*ROWS[:30], *(row(step, 9.0) for step in STEPS[26:40])])

    expected = {step: row[1] for step, row in zip(STEPS, CURVE, strict=True)}
    expected = {step: expected[step] for step in STEPS[:26]} | dict.fromkeys(STEPS[26:40], 9.0)
    assert losses_by_step(history) == expected
    assert "The run was resumed: 4 rows of steps that were done again" in history.understood


def test_what_a_resumed_run_has_not_reached_again_is_no_part_of_it(read):
    history = read([*ROWS[:50], *(row(step, 9.0) for step in STEPS[10:20])])

    assert history.loss_steps.tolist() == STEPS[:20]


def test_a_run_may_be_resumed_twice_from_the_same_step(read):
    history = read([row(s, 1.0) for s in (1, 2, 3, 4, 5)] + [row(3, 2.0), row(4, 2.0), row(3, 3.0)])

    assert losses_by_step(history) == {1: 1.0, 2: 1.0, 3: 3.0}


def test_a_run_that_was_started_again_may_then_be_resumed(read):
    steps = [1, 2, 3, 1, 2, 3, 4, 3, 4, 5]
    history = read([row(step, float(place)) for place, step in enumerate(steps)])

    assert losses_by_step(history) == {1: 3.0, 2: 4.0, 3: 7.0, 4: 8.0, 5: 9.0}
    assert "It holds 2 runs" in history.understood
    assert "The run was resumed" in history.understood


def test_loss_and_norm_of_one_step_may_stand_in_two_rows(read):
    lines = [
        json.dumps({"step": step, **part})
        for step, loss, norm, _ in CURVE
        for part in ({"loss": loss}, {"grad_norm": norm})
    ]

    for shown in (lines, [*lines[::2], *lines[1::2]]):
        history = read(shown)
        assert history.loss_steps.tolist() == history.steps.tolist() == STEPS
        assert history.global_norm.tolist() == [row[2] for row in CURVE]
        assert history.understood == "60 steps of loss and gradient norm, JSON lines."


def test_a_second_run_whose_losses_and_norms_stand_in_two_rows_is_cut_out_whole(read):
    lines = [
        json.dumps({"step": step, **part})
        for begin in (0.0, 1.0)
        for step in range(1, 9)
        for part in ({"loss": begin + step}, {"grad_norm": begin + step})
    ]

    history = read(lines)

    assert (
        history.losses.tolist() == history.global_norm.tolist() == [float(s) for s in range(2, 10)]
    )
    assert "It holds 2 runs" in history.understood


def test_of_one_step_that_occurs_twice_the_last_row_counts(read):
    history = read([row(1, 1.0), row(2, 2.0), row(2, 3.0), row(3, 4.0)])

    assert losses_by_step(history) == {1: 1.0, 2: 3.0, 3: 4.0}
    assert "Of several numbers for one step the last counts (2 are left out)." in history.understood


def test_steps_may_fall_or_be_in_no_order(read):
    for lines in (ROWS[::-1], random.Random(0).sample(ROWS, len(ROWS))):
        history = read(lines)
        assert history.loss_steps.tolist() == STEPS
        assert history.losses.tolist() == [row[1] for row in CURVE]
        assert "Rows are not in the order of their steps and were sorted." in history.understood


def test_rows_without_a_step_are_counted(read):
    history = read([json.dumps({"loss": loss, "grad_norm": norm}) for _, loss, norm, _ in CURVE])

    assert history.steps.tolist() == list(range(1, 61))
    assert "Rows are counted as steps, since no step is in the log." in history.understood


def test_a_few_rows_without_a_step_are_left_out_and_told(read):
    history = read([*ROWS, '{"loss": 9.0}', row(1.5, 9.0), row(-3, 9.0), row("x", 9.0)])

    assert history.loss_steps.tolist() == STEPS
    assert "Left out: 4 rows without a whole number as its step." in history.understood


def test_steps_that_begin_again_in_each_epoch_are_counted_through(read):
    history = read([row(step, 1.0, epoch=epoch) for epoch in range(3) for step in range(10)])

    assert history.steps.tolist() == list(range(1, 31))
    assert "since steps begin again in each epoch." in history.understood


def test_whole_epochs_count_where_there_are_no_steps_and_fractions_do_not(read):
    whole = read([json.dumps({"epoch": epoch, "loss": 1.0}) for epoch in range(5)])
    parts = read([json.dumps({"epoch": epoch / 7, "loss": 1.0}) for epoch in range(5)])

    assert whole.loss_steps.tolist() == [0, 1, 2, 3, 4]
    assert "It counts epochs, not steps." in whole.understood
    assert parts.loss_steps.tolist() == [1, 2, 3, 4, 5]


def test_another_name_of_the_step_fills_gaps_only_if_it_says_the_same(read):
    same = read(
        ['{"step": 1, "loss": 1.0}', '{"iter": 1, "grad_norm": 2.0}'] * 2
        + ['{"step": 3, "iter": 3, "loss": 1.0}', '{"iter": 3, "grad_norm": 2.0}']
    )
    other = read(
        [json.dumps({"step": 10 * s, "_step": s, "loss": 1.0}) for s in range(1, 20)]
        + ['{"_step": 20, "loss": 5.0}']
    )

    assert same.steps.tolist() == [1, 3]
    assert other.loss_steps.tolist() == [10 * s for s in range(1, 20)]


def test_the_name_with_most_of_the_numbers_is_used_and_the_others_are_told(read):
    lines = [json.dumps({"step": s, "train_loss": 2.0, "grad_norm": 1.0}) for s in range(50)]

    history = read([*lines, '{"step": 50, "loss": 9.0}'])

    assert history.losses.tolist() == [2.0] * 50
    assert "Read from 'train_loss' and 'grad_norm'; not used: 'loss'." in history.understood


@pytest.mark.parametrize("seed", range(5))
def test_a_run_cut_and_resumed_at_random_gives_what_was_computed_last(seed, read):
    chance = random.Random(seed)
    lines, latest, step = [], {}, 1
    for place in range(200):
        if step > 5 and chance.random() < 0.04:
            step = chance.randint(2, step)
            latest = {before: value for before, value in latest.items() if before < step}
        latest[step] = float(place)
        lines.append(row(step, float(place)))
        step += 1

    history = read(lines)

    assert losses_by_step(history) == latest
    np.testing.assert_array_equal(history.steps, history.loss_steps)
