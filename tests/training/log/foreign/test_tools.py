"""Logs of other tools: each gives the steps, losses and norms of the training that wrote it."""

import json

import numpy as np
import pytest

from backlight.errors import RunDirectoryError
from backlight.training.log.reading import read_history
from zoo.logs import CURVE, LOGS, json_lines

STEPS, LOSSES, NORMS, RATES = (list(column) for column in zip(*CURVE, strict=True))
COUNTED = {"steps": STEPS, "rows": list(range(1, 61)), "epochs": list(range(1, 61))}


@pytest.fixture
def read(tmp_path):
    """Write a log and read it."""

    def write(text, file="log.jsonl"):
        path = tmp_path / file
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_history(path)

    return write


@pytest.mark.parametrize("name", LOGS)
def test_every_tool_tells_the_same_training(name, read):
    log = LOGS[name]

    history = read(log.text, log.file)

    steps = COUNTED[log.steps]
    assert history.loss_steps.tolist() == steps
    np.testing.assert_allclose(history.losses, LOSSES, rtol=1e-6)
    assert history.steps.tolist() == (steps if log.norms else [])
    np.testing.assert_allclose(history.global_norm, NORMS if log.norms else [], rtol=1e-6)
    assert history.parameters == ()
    quantities = "loss and gradient norm" if log.norms else "loss"
    assert history.understood.startswith(f"60 steps of {quantities}, {log.tool}.")
    assert log.told in history.understood


BY_COLUMNS = {"columns", "pandas", "pandas, split", "Keras history"}  # a cut takes a whole column


@pytest.mark.parametrize("name", sorted(LOGS.keys() - BY_COLUMNS))
def test_every_log_may_be_cut_anywhere(name, read):
    log = LOGS[name]
    for share in (0.97, 0.7, 0.31):
        history = read(log.text[: int(len(log.text) * share)], log.file)

        known = min(len(history.losses), 60)
        assert known >= 60 * share - 5
        np.testing.assert_allclose(history.losses[: known - 1], LOSSES[: known - 1], rtol=1e-6)
        np.testing.assert_allclose(history.losses[known - 1], LOSSES[known - 1], rtol=0.01)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ('"4.156"', 4.156),
        ('"1e-5"', 1e-5),
        ('"NaN"', np.nan),
        ('"nan"', np.nan),
        ("NaN", np.nan),
        ("nan", np.nan),
        ('"inf"', np.inf),
        ('"-inf"', -np.inf),
        ('"Infinity"', np.inf),
        ("-Infinity", -np.inf),
        ("1e400", np.inf),
        ('" 2.5 "', 2.5),
        ("[2.5]", 2.5),
        ('"tensor(2.5)"', 2.5),
        ("2", 2.0),
        ("9" * 5000, np.inf),
    ],
)
def test_a_number_is_read_however_it_is_written(written, number, read):
    history = read(f'{{"step": 1, "loss": 1.0, "grad_norm": {written}}}\n')

    np.testing.assert_array_equal(history.global_norm, [number])


@pytest.mark.parametrize("written", ["null", '""', '"n/a"', "true", "[]", "{}", '"1_000"', '"-"'])
def test_what_is_no_number_is_absent_and_not_nan(written, read):
    history = read(json_lines() + f'{{"step": 900, "loss": {written}, "grad_norm": {written}}}\n')

    assert history.losses.tolist() == LOSSES
    assert history.global_norm.tolist() == NORMS


def test_values_that_are_no_numbers_are_counted_and_told(read):
    history = read(json_lines() + '{"step": 900, "loss": "low", "grad_norm": 0.5}\n')

    assert history.understood == (
        "61 steps of gradient norm, 60 of loss, JSON lines. Left out: 1 value such as 'low', no "
        "number."
    )


def test_the_learning_rate_goes_with_the_norm(read):
    history = read(LOGS["Transformers 5 console"].text)

    np.testing.assert_allclose(history.learning_rates[:, 0], RATES)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + json_lines().replace("\n", "\r\n").encode(),
        json_lines().encode("utf-16"),
        json_lines().encode("utf-16-le"),
        json_lines().encode("utf-16-be"),
        json_lines().encode("utf-32"),
        json_lines().replace("\n", "\r").encode(),
        json_lines().rstrip().encode(),
        b"\n\n" + json_lines().replace("\n", "\n\n").encode(),
        json_lines().encode() + bytes(5000),
        b"\xff\xfa\xfb\n" + json_lines().encode(),
    ],
    ids=["mark and Windows", "UTF-16", "UTF-16 little", "UTF-16 big", "UTF-32", "Mac", "no end",
         "empty lines", "zeros", "no text"],
)  # fmt: skip
def test_encodings_and_line_ends_do_not_matter(content, read):
    history = read(content)

    assert history.loss_steps.tolist() == STEPS
    assert history.losses.tolist() == LOSSES


@pytest.mark.parametrize("more", [{"lr": [0.1, 0.2]}, {"train": {"x": 1}}, {"steps": {"a": [1]}}])
def test_a_log_of_one_step_is_one_row(more, read):
    history = read(json.dumps({"step": 7, "loss": 2.0, "grad_norm": 0.5, **more}))

    assert history.steps.tolist() == [7]
    assert history.losses.tolist() == [2.0]


def test_a_log_is_read_through_gzip(read):
    import gzip

    assert read(gzip.compress(json_lines().encode()), "log.jsonl.gz").losses.tolist() == LOSSES


def test_a_last_line_that_is_half_written_is_told(read):
    history = read(json_lines()[:-20])

    assert history.loss_steps.tolist() == STEPS[:-1]
    assert "The last line is cut off, as while a log is being written." in history.understood


def test_the_last_number_of_a_table_that_is_cut_is_not_read_short(read):
    text = "step,loss,grad_norm\n1,1.5,0.125\n2,1.5,0.250\n3,1.5,1.2"

    assert read(text).global_norm.tolist() == [0.125, 0.25]
    assert read(text + "55").global_norm.tolist() == [0.125, 0.25, 1.255]


def test_the_last_number_of_a_console_that_is_cut_is_not_read_short(read):
    text = "step 1 loss 1.5 grad norm 0.125\nstep 2 loss 1.5 grad norm 0.250\nstep 3 loss 1"

    assert read(text, "log.txt").losses.tolist() == [1.5, 1.5]


def test_broken_lines_are_left_out_and_told(read):
    rows = json_lines().splitlines()
    history = read("\n".join([*rows[:10], '{"step": 99, "lo', *rows[10:], '{"x', rows[-1]]))

    assert history.loss_steps.tolist() == STEPS
    assert "Left out: 2 lines that cannot be read (the first is line 11)." in history.understood


def test_a_traceback_in_between_is_counted(read):
    rows = json_lines().splitlines()
    noise = ["Traceback (most recent call last):", "RuntimeError: loss of contact"]

    history = read("\n".join([*rows[:10], *noise, *rows[10:]]))

    assert history.loss_steps.tolist() == STEPS
    assert history.understood.endswith("JSON lines. 2 other lines.")


def test_a_text_in_which_no_log_begins_is_not_read_to_its_end(read, monkeypatch):
    from backlight.training.log.foreign import rows

    monkeypatch.setattr(rows, "_MOST_NOISE", 100)
    with pytest.raises(RunDirectoryError, match=r"So much for its first 101 lines"):
        read("x\n" * 500 + json_lines())
    assert read("x\n" * 90 + json_lines()).losses.tolist() == LOSSES


def test_two_objects_on_a_line_are_two_rows(read):
    rows = json_lines().splitlines()

    assert read("".join(rows)).loss_steps.tolist() == STEPS


def test_a_broken_array_names_the_line(read):
    text = json.dumps([json.loads(row) for row in json_lines().splitlines()], indent=1)
    with pytest.raises(RunDirectoryError, match=r"cannot be read beyond line 12: it is no JSON"):
        read(text.replace('"grad_norm"', "grad_norm", 3).replace("grad_norm", '"grad_norm"', 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"schritt": 1, "verlust": 2.0}\n',
            r"'schritt', 'verlust' \(No steps: 1 row without loss or norm\)\. Understood are",
        ),
        ('{"step": 1}\n', r"holds no norm of a gradient and no loss of a step: it has 'step' "),
        ('{"step": 1, "lr": 0.1}\n', r"holds no norm of a gradient and no loss"),
        ('{"step": 1, "loss": "low"}\n', r"it has 1 values such as 'low' that are no numbers"),
        ("", r"it has no line with names and numbers \(The file is empty\)"),
        ("a,b\n1,2\n", r"no line with names and numbers"),
        ('{"train_loss": 1.7, "train_runtime": 9.0}\n', r"\(No steps: 1 row of summary\)\. Und"),
        ('{"step": 1, "eval_loss": 1.7}\n', r"\(No steps: 1 row of evaluation\)\. Understood"),
        ('{"step": 1, "norms": [1]}\n', "norms in line 1 of .* are not numbers by names"),
        ('{"step": 1, "norms": {"a": "x"}}\n', "norms in line 1 of .* are not numbers by names"),
        (
            '[{"step": 1}] or so',
            "cannot be read beyond line 1: it is no JSON .something follows its end",
        ),
        ('{"a":' * 50_000, r"it is no JSON .it is nested too deeply"),
        ("[" * 50_000, r"it is no JSON .it is nested too deeply"),
        (b"\x80\x04\x95\x00", "it is a pickle, which is never opened"),
        (b"PK\x03\x04abc", "it is a zip archive"),
        (b"\x1f\x8b\x08\x00", "holds no norm"),
    ],
)
def test_what_is_not_understood_is_said_in_a_sentence(text, message, read):
    with pytest.raises(RunDirectoryError, match=message):
        read(text)


def test_a_table_without_a_known_column_lists_its_columns(read):
    with pytest.raises(RunDirectoryError, match=r"it has 'schritt', 'verlust'"):
        read("schritt,verlust\n1,2\n", "log.csv")


ALIKE = {
    "NaN for nothing": "\n".join(
        json.dumps({"step": s, "loss": x, "grad_norm": n, "eval_loss": e, "train_runtime": t})
        for s, x, n, e, t in [
            *((s, x, n, np.nan, np.nan) for s, x, n, _ in CURVE),
            (300, np.nan, np.nan, 1.9, np.nan),
            (600, np.nan, np.nan, np.nan, 99.0),
        ]
    ),
    "a comment before the names": "# run 7\n#step,loss,grad_norm\n"
    + "".join(f"{s},{x},{n}\n" for s, x, n, _ in CURVE),
    "a separator before the names": "sep=;\nstep;loss;grad_norm\n"
    + "".join(f"{s};{x};{n}\n" for s, x, n, _ in CURVE),
    "blanks between cells": "step   loss  grad_norm\n"
    + "".join(f"{s:5d}  {x:9.5f} {n}\n" for s, x, n, _ in CURVE),
    "a table in Markdown": "| Step | Training Loss | Eval Loss | Grad Norm |\n|---|---|---|---|\n"
    + "".join(f"| {s} | {x} | 9.0 | {n} |\n" for s, x, n, _ in CURVE),
    "a row for each quantity": "step,metric,value\n"
    + "".join(f"{s},train/loss,{x}\n{s},train/grad_norm,{n}\n{s},x,0\n" for s, x, n, _ in CURVE),
    "an object for each quantity": "".join(
        json.dumps({"name": name, "value": value, "step": s}) + "\n"
        for s, x, n, _ in CURVE
        for name, value in (("loss", x), ("grad_norm", n), ("eval/loss", 9.0))
    ),
    "a step before a dictionary": "".join(
        f"Step {s}: {{'loss': {x}, 'grad_norm': {n}}}\n" for s, x, n, _ in CURVE
    ),
    "text before an object": "".join(
        f'{s} INFO {{"step": {s}, "loss": {x}, "grad_norm": {n}}}\n' for s, x, n, _ in CURVE
    ),
    "logfmt": "".join(
        f'level=info msg="a step" step={s} loss={x} grad_norm={n}\n' for s, x, n, _ in CURVE
    ),
    "flags": "".join(
        json.dumps({"step": s, "is_eval": flag, "loss": value, "grad_norm": n}) + "\n"
        for s, x, n, _ in CURVE
        for flag, value in ((False, x), (True, 9.0))
    ),
    "the part of the data": "".join(
        json.dumps({name: part, "step": s, "loss": value, "grad_norm": n}) + "\n"
        for s, x, n, _ in CURVE
        for name, part, value in (
            ("dataset", "train", x), ("dataset", "valid", 9.0), ("event", "eval_step", 9.0)
        )
    ),
    "evaluation in words": "".join(
        f"[train] step {s} loss {x} grad_norm {n}\n[eval] step {s}, loss 9.0\n"
        f"Validation: {{'step': {s}, 'loss': 9.0}}\nTest set: step {s} average loss: 9.0\n"
        f"Evaluating | step={s} | loss=9.0\nstep {s}: val loss 9.0\n"
        for s, x, n, _ in CURVE
    ),
    "words that only look like evaluation": "".join(
        f"[test-run] eval.py train/valid.py step {s} | val loss 9.0 | valid tokens 4,096 | "
        f"loss {x} | grad norm {n} | val loss 9.0\n"
        for s, x, n, _ in CURVE
    ),
    "names in camel case": "".join(
        json.dumps({"globalStep": s, "trainLoss": x, "gradNorm": n}) + "\n" for s, x, n, _ in CURVE
    ),
    "objects by steps": json.dumps({s: {"loss": x, "grad_norm": n} for s, x, n, _ in CURVE}),
    "columns inside": json.dumps(
        {"config": {"lr": 1}, "history": {"step": STEPS, "loss": LOSSES, "grad_norm": NORMS}}
    ),
    "lists with names first": json.dumps([["step", "loss", "grad_norm"], *(r[:3] for r in CURVE)]),
    "a configuration first": json.dumps({"config": {"lr": 0.1, "steps": 1000}, "model": "gpt"})
    + "\n"
    + json_lines(),
}  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_ways_of_writing_that_mean_the_same(name, read):
    history = read(ALIKE[name], "log.txt")

    assert history.loss_steps.tolist() == history.steps.tolist() == STEPS
    assert history.losses.tolist() == LOSSES
    assert history.global_norm.tolist() == NORMS
    assert history.understood.startswith("60 steps of loss and gradient norm, ")


def test_names_of_layers_are_read_from_the_input_to_the_loss(read):
    rows = [
        {"step": 1, "norms": {"b": "3.0", "a": 4.0}},
        {"step": 2, "norms": {"b": 1.0, "a": None}, "grad_norm": 7.0},
        {"step": 3, "norms": {"a": "NaN", "c": 1e200}},
    ]

    history = read("\n".join(json.dumps(row) for row in rows))

    assert [info.name for info in history.parameters] == ["b", "a", "c"]
    assert history.present.tolist() == [[True, True, False], [True, False, False],
                                        [False, True, True]]  # fmt: skip
    np.testing.assert_array_equal(history.global_norm, [5.0, 7.0, np.nan])
    assert history.understood.startswith(
        "3 steps of gradient norms of 3 layers, 1 of gradient norm"
    )


def test_a_giant_of_layers_is_refused(read, monkeypatch):
    from backlight.training.log.foreign import columns

    monkeypatch.setattr(columns, "_MOST_CELLS", 100)
    with pytest.raises(RunDirectoryError, match=r"names 11 layers over 10 steps: more than can be"):
        read("\n".join(json.dumps({"step": s, "norms": {f"l{s}": 1.0, "x": 1}}) for s in range(50)))


@pytest.mark.slow
def test_a_long_log_is_never_held_as_a_whole(tmp_path):
    import tracemalloc

    path = tmp_path / "log.jsonl"
    with path.open("w") as file:
        for step in range(1, 40_001):
            file.write(f'{{"step": {step}, "loss": {1 / step}, "grad_norm": 1.0}}\n')
    tracemalloc.start()
    history = read_history(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(history.steps) == 40_000
    assert peak < 25_000_000  # the objects of the lines alone would take more
