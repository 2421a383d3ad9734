"""Logs of training runs: what is written is read back, torn or not, and what is no log is named."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backlight.errors import RunDirectoryError
from backlight.training.log.history import STATISTICS, ParameterInfo
from backlight.training.log.lines import decode_number, encode_line, read_lines, whole_size
from backlight.training.log.reading import HEADER, LOG, assemble, read_history
from backlight.training.log.writer import TrainingLog

PARAMETERS = tuple(
    ParameterInfo(name=f"h.{layer}.{name}", module=f"h.{layer}", layer=layer, depth=2 * layer + i)
    for layer in range(2)
    for i, name in enumerate(("weight", "bias"))
)

numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)
sizes = numbers.map(abs)
rows = st.lists(st.none() | sizes, min_size=len(PARAMETERS), max_size=len(PARAMETERS))


def step_record(step, row, norm=1.0):
    return {
        "kind": "step",
        "step": step,
        "norm": norm,
        "clipped_norm": None,
        "learning_rates": [0.1],
        "scale": None,
        "parameters": dict.fromkeys(STATISTICS, row),
    }


def write(path, *records):
    log = TrainingLog(path, PARAMETERS, {"schedule": "every 1"}, resume=False)
    for record in records:
        log.append(record)
    log.close()


def same(left, right):
    return np.array_equal(left, right, equal_nan=True)


@settings(max_examples=25)
@given(st.lists(st.tuples(rows, sizes), max_size=4))
def test_what_is_logged_is_read_back_to_the_bit(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("runs") / "run"
    write(path, *(step_record(i + 1, row, norm) for i, (row, norm) in enumerate(written)))

    history = read_history(path)

    assert history.parameters == PARAMETERS
    assert history.steps.tolist() == list(range(1, len(written) + 1))
    assert same(history.global_norm, np.array([norm for _, norm in written], dtype=float))
    for i, (row, _) in enumerate(written):
        assert history.present[i].tolist() == [cell is not None for cell in row]
        for name in STATISTICS:
            expected = [math.nan if cell is None else cell for cell in row]
            assert same(history.statistics[name][i], np.array(expected))


@settings(max_examples=25)
@given(st.data())
def test_a_log_cut_anywhere_loses_its_last_line_at_most(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("runs") / "run"
    write(path, *(step_record(step, [0.5] * 4, step / 7) for step in (1, 2, 3)))
    content = (path / LOG).read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    cut = data.draw(st.integers(0, len(content)))
    (path / LOG).write_bytes(content[:cut])

    whole = sum(end <= cut for end in ends)
    found = len(read_history(path).steps)

    assert found in (whole, whole + (cut + 1 in ends))  # a line may lack nothing but its end
    assert whole_size(content[:cut]) == max([end for end in ends if end <= cut], default=0)


@given(numbers)
def test_numbers_survive_as_strict_json(number):
    line = encode_line({"x": number})
    strict = json.loads(line, parse_constant=lambda word: pytest.fail(word))
    assert same(decode_number(strict["x"]), number)


@pytest.mark.parametrize("value", [None, "nan", "text", [1], {}, True])
def test_what_is_no_number_is_not_read_as_one(value):
    assert decode_number(value) is None


def test_a_torn_line_elsewhere_is_named(tmp_path):
    file = tmp_path / "log.jsonl"
    file.write_text('{"step": 1, "grad_norm": 1}\n{"step": 2, "gr\n{"step": 3, "grad_norm": 1}\n')
    with pytest.raises(
        RunDirectoryError, match=r"Line 2 of .* is not a JSON object, and it is not"
    ):
        read_lines(file)


def test_of_a_step_that_was_done_twice_the_later_record_counts():
    records = [step_record(step, [float(i)] * 4, i) for i, step in enumerate((1, 2, 3, 2, 4))]
    history = assemble(PARAMETERS, records)
    assert history.steps.tolist() == [1, 2, 3, 4]
    assert history.global_norm.tolist() == [0, 3, 2, 4]


def test_an_empty_run_has_no_steps(tmp_path):
    write(tmp_path / "run")
    history = read_history(tmp_path / "run")
    assert history.steps.size == 0
    assert history.statistics["norm"].shape == (0, 4)
    assert history.layer_norms().norms.shape == (0, 2)
    assert math.isnan(history.clip_rate())


def test_groups_sum_squares_by_depth_and_keep_nan():
    records = [
        step_record(1, [3.0, 4.0, None, 12.0]),
        step_record(2, [math.inf, math.nan, None, None]),
        step_record(3, [1e200, 1e200, 5.0, None]),
    ]
    layers = assemble(PARAMETERS, records).layer_norms()
    assert layers.names == ("h.0", "h.1")
    expected = [[5.0, 12.0], [math.nan, math.nan], [math.sqrt(2) * 1e200, 5.0]]
    np.testing.assert_allclose(layers.norms, expected)
    assert layers.present.tolist() == [[True, True], [True, False], [True, True]]


def test_the_clip_rate_is_the_share_of_the_steps_with_a_smaller_norm():
    records = [step_record(step, [1.0] * 4, 2.0) for step in (1, 2, 3, 4)]
    for record, clipped in zip(records, (2.0, 1.0, None, "NaN"), strict=True):
        record["clipped_norm"] = clipped
    assert assemble(PARAMETERS, records).clip_rate() == 0.5


def test_losses_events_ranks_and_activations_are_read(tmp_path):
    path = tmp_path / "run"
    write(
        path,
        step_record(2, [1.0] * 4),
        {"kind": "loss", "steps": [1, 2], "losses": [2.5, math.inf]},
        {"kind": "activations", "step": 2, "layers": {"h.0": 0.5, "h.1": None}},
        {"kind": "event", "step": 2, "what": "non_finite", "where": "forward", "module": "h.1",
         "parameter": None, "snapshot": None, "text": "At step 2 h.1."},
        {"kind": "from a later version"},
    )  # fmt: skip
    for rank, norm in enumerate((0.25, "NaN")):
        (path / f"rank_{rank:04d}.jsonl").write_text(encode_line({"step": 2, "norm": norm}))

    history = read_history(path / LOG)

    assert history.losses.tolist() == [2.5, math.inf]
    assert history.loss_steps.tolist() == [1, 2]
    assert history.activation_layers == ("h.0", "h.1")
    assert same(history.activation_norms, np.array([[0.5, math.nan]]))
    assert [event.module for event in history.events] == ["h.1"]
    assert same(history.rank_norms, np.array([[0.25, math.nan]]))
    assert history.source == str(path)


def test_a_plain_log_of_norms_is_read(tmp_path):
    file = tmp_path / "norms.jsonl"
    file.write_text('{"step": 1, "grad_norm": 0.3, "loss": 2.1}\n{"step": 5, "grad_norm": NaN}\n')
    history = read_history(file)
    assert history.steps.tolist() == [1, 5]
    assert same(history.global_norm, np.array([0.3, math.nan]))
    assert history.losses.tolist() == [2.1]
    assert history.parameters == ()


def test_a_plain_log_of_layers_is_read_from_the_input_to_the_loss(tmp_path):
    file = tmp_path / "norms.jsonl"
    lines = [{"step": 1, "norms": {"b": 3.0, "a": 4.0}}, {"step": 2, "norms": {"b": "NaN"}}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    history = read_history(file)
    layers = history.layer_norms()
    assert layers.names == ("b", "a")
    assert same(layers.norms, np.array([[3.0, 4.0], [math.nan, math.nan]]))
    assert history.present.tolist() == [[True, True], [True, False]]
    assert history.global_norm[0] == 5.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"step": 1}\n', "holds no norm of a gradient"),
        ("", "holds no norm of a gradient"),
        ('{"step": 1, "norms": [1]}\n', "norms in line 1 of .* are not numbers by names"),
        ('{"step": 1, "norms": {"a": "x"}}\n', "norms in line 1 of .* are not numbers by names"),
    ],
)
def test_what_is_no_plain_log_is_said(tmp_path, text, message):
    file = tmp_path / "norms.jsonl"
    file.write_text(text)
    with pytest.raises(RunDirectoryError, match=message):
        read_history(file)


def test_what_is_no_log_at_all_is_said(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"cannot be read: No such file"):
        read_history(tmp_path / "missing")
    with pytest.raises(RunDirectoryError, match=r"holds no log of a training run: it has no watch"):
        read_history(tmp_path)
    (tmp_path / HEADER).write_text('{"format": 2, "parameters": []}')
    with pytest.raises(RunDirectoryError, match=r"has format 2, .* reads 1; update backlight"):
        read_history(tmp_path)
    (tmp_path / HEADER).write_text('{"format": 1}')
    with pytest.raises(RunDirectoryError, match=r"is damaged: it does not say which parameters"):
        read_history(tmp_path)


def test_a_record_that_does_not_fit_the_header_is_said(tmp_path):
    write(tmp_path / "run", step_record(1, [1.0]))
    with pytest.raises(RunDirectoryError, match=r"is damaged: a record .*1 numbers for 4 names"):
        read_history(tmp_path / "run")


def test_a_log_is_not_written_over_another(tmp_path):
    write(tmp_path / "run", step_record(1, [1.0] * 4))
    with pytest.raises(RunDirectoryError, match=r"already holds the log .* steps_done"):
        write(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match="is a file, not a directory for a log"):
        write(tmp_path / "file")
    with pytest.raises(
        RunDirectoryError, match=r"the log of another model: they differ in 'h.0.bias'"
    ):
        TrainingLog(tmp_path / "run", PARAMETERS[:1], {}, resume=True)


def test_a_resumed_log_goes_on_behind_the_last_whole_line(tmp_path):
    write(tmp_path / "run", step_record(1, [1.0] * 4), step_record(2, [1.0] * 4))
    torn = (tmp_path / "run" / LOG).read_text()[:-9]
    (tmp_path / "run" / LOG).write_text(torn)
    log = TrainingLog(tmp_path / "run", PARAMETERS, {}, resume=True)
    log.append(step_record(2, [1.0] * 4))
    log.append(step_record(3, [1.0] * 4))
    assert log.history().steps.tolist() == [1, 2, 3]
    log.close()


def test_a_history_is_read_without_torch():
    code = "import sys, backlight.training.log.reading; print('torch' in sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "False"
