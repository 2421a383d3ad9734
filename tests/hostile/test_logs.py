"""Logs as they should not be, through ``backlight doctor``: a judgement or one sentence."""

import gzip
import json
import os
import pickle
import random
import socket
import struct
import zipfile

import numpy as np
import pytest

from zoo.hostile import attack
from zoo.logs import json_lines, trainer_state

ROWS = json_lines().splitlines()
ROW = ROWS[0]


def lines(*rows):
    return "\n".join(rows) + "\n"


def flipped(seed):
    """Give a log of which some bytes are others."""
    chance = random.Random(seed)
    content = bytearray(json_lines().encode())
    for _ in range(20):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)


def cut(content, share):
    return content[: int(len(content) * share)]


def event_file(*records, spoil=0):
    """Frame records as event files do, with checksums that are wrong."""
    framed = b"".join(
        struct.pack("<QI", len(record) + spoil, 1) + record + struct.pack("<I", 2)
        for record in records
    )
    return framed + b"brain.Event:2"


REFUSED = {
    "empty": b"",
    "blank lines": b"\n\n \n\t\n",
    "a byte order mark alone": b"\xef\xbb\xbf",
    "half a UTF-16 mark": b"\xff\xfe\x00",
    "zeros": bytes(10_000),
    "random bytes": random.Random(0).randbytes(20_000),
    "a pickle": pickle.dumps([{"step": 1, "grad_norm": 1.0}]),
    "an old pickle": pickle.dumps([{"step": 1, "grad_norm": 1.0}], protocol=0),
    "an ELF header": b"\x7fELF\x02\x01\x01" + bytes(200),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a numpy array": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}",
    "a parquet file": b"PAR1" + bytes(40),
    "a database": b"SQLite format 3\x00" + bytes(80),
    "an xz file": b"\xfd7zXZ\x00\x00\x04" + bytes(40),
    "a bzip2 file": b"BZh91AY&SY" + bytes(range(64)),
    "a zstd file": b"(\xb5/\xfd\x04" + bytes(64),
    "a W&B file": b":W&B\xe1\xbe\x00" + bytes(64),
    "a PDF": b"%PDF-1.7\n1 0 obj",
    "HTML": b"<!DOCTYPE html><html><body><p>loss</p></body></html>",
    "XML": b"<?xml version='1.0'?><loss>1</loss>",
    "YAML": b"step: []\nloss: {}\n",
    "prose": "The loss was low and the norm of the gradient was high.\n" * 50,
    "a config": json.dumps({"model_type": "llama", "hidden_size": 64}, indent=2),
    "a tokenizer": json.dumps({"model": {"vocab": {"a": 0}, "merges": []}}),
    "numbers": "1\n2\n3\n",
    "an array of numbers": "[1, 2, 3]",
    "an empty array": "[]",
    "an empty object": "{}",
    "null": "null\n",
    "text in quotes": '"loss"\n',
    "arrays in arrays": "[[1, 2.0], [2, 1.9]]",
    "an array that is torn at once": "[",
    "an object that is torn at once": '{"log_history": [',
    "an array with garbage behind it": "[" + ROW + "] and so on",
    "an array without commas": "[" + " ".join(ROWS) + "]",
    "an array of single quotes": str([{"step": 1, "loss": 2.0}]),
    "a trainer state without history": json.dumps({"log_history": [], "global_step": 0}, indent=2),
    "a trainer state with a number as history": json.dumps({"log_history": 7}, indent=2),
    "a trainer state of evaluations": trainer_state([{"step": 1, "eval_loss": 2.0}]),
    "nested arrays": "[" * 100_000,
    "nested arrays in a line": '{"step": 1, "loss": ' + "[" * 100_000 + "]" * 100_000 + "}\n",
    "nested objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "nested objects in an array": "[" + '{"a":' * 100_000 + "1" + "}" * 100_000 + "]",
    "nested objects, indented": '{\n"a":' * 50_000,
    "truth values": lines(*(json.dumps({"step": s, "loss": True}) for s in range(50))),
    "only steps": lines(*(json.dumps({"step": s}) for s in range(50))),
    "only evaluations": lines(*(json.dumps({"step": s, "eval_loss": 1.0}) for s in range(50))),
    "only summaries": lines('{"train_runtime": 1.0, "train_loss": 1.0}'),
    "only learning rates": lines(*(json.dumps({"step": s, "lr": 0.1}) for s in range(50))),
    "nulls": lines(*(json.dumps({"step": s, "loss": None, "grad_norm": None}) for s in range(9))),
    "words for numbers": lines(
        *(json.dumps({"step": s, "loss": "low", "grad_norm": "high"}) for s in range(50))
    ),
    "lists for numbers": lines(*(json.dumps({"step": s, "loss": [1, 2]}) for s in range(50))),
    "unknown keys": lines(*(json.dumps({"schritt": s, "verlust": 1.0}) for s in range(50))),
    "unknown keys that steer a terminal": lines(
        *(json.dumps({"\x1b[2J\x07\u202e": s, "[red]x[/red]": 1.0}) for s in range(50))
    ),
    "unknown keys that are long": lines(json.dumps({"k" * 100_000: 1.0})),
    "unknown keys by the thousand": lines(json.dumps({f"k{i}": i for i in range(3000)})),
    "other keys in each line": lines(*(json.dumps({f"k{i}": 1}) for i in range(3000))),
    "an empty key": lines(json.dumps({"": 1.0})),
    "norms that are no mapping": lines('{"step": 1, "norms": 3}'),
    "norms that are words": lines('{"step": 1, "norms": {"a": "high"}}'),
    "a header alone": "step,loss,grad_norm\n",
    "a header without an end": "step,loss,grad_norm",
    "a table of blanks": "step,loss,grad_norm\n" + ",,\n" * 50,
    "a table of words": "step,loss,grad_norm\n" + "a,b,c\n" * 50,
    "a table of ragged rows": "step,loss\n" + "1,2,3,4\n" * 50,
    "a table with an endless cell": 'step,loss\n1,"' + "x" * 300_000,
    "a table of a million columns": "step,loss" + ",c" * 1_000_000 + "\n",
    "a table with the wrong delimiter": "step:loss\n1:2\n",
    "a line of 50 MB": b'{"step": 1, "loss": "' + b"9" * 50_000_000,
    "a text of 20 MB without an end": b"x" * 20_000_000,
    "a value of 20 MB in an array": b'[{"step": 1, "loss": "' + b"9" * 20_000_000,
    "half a gzip head": b"\x1f\x8b\x08\x00",
    "a gzip file of nothing": gzip.compress(b""),
    "a spoiled gzip file": gzip.compress(json_lines().encode())[:40] + bytes(200),
    "a gzip bomb of one line": gzip.compress(b"1" * 30_000_000, 1),
    "a gzip bomb of empty lines": gzip.compress(b"\n" * 30_000_000, 1),
    "gzip in gzip": gzip.compress(gzip.compress(json_lines().encode())),
}

JUDGED = {
    "a torn last line": json_lines()[:-30],
    "a torn first line": json_lines()[30:],
    "a torn line in the middle": lines(*ROWS[:20], ROWS[20][:15], *ROWS[20:]),
    "two lines in one": lines(*ROWS[:20], ROWS[20] + ROWS[21], *ROWS[22:]),
    "one line inside another": lines(*ROWS[:20], ROWS[20][:15] + ROWS[21], *ROWS[22:]),
    "zeros after a crash": json_lines().encode() + bytes(4000),
    "zeros inside": json_lines().encode().replace(b"\n", b"\n\x00\x00", 5),
    "bytes that are no text": json_lines().encode().replace(b"\n", b"\n\xff\xfe\xfa\n", 5),
    "commas at the ends": json_lines().replace("\n", ",\n"),
    "duplicate keys": lines(*(row[:-1] + ', "loss": 1.5}' for row in ROWS)),
    "numbers of 5,000 digits": lines(*ROWS, '{"step": 900, "loss": ' + "9" * 5000 + "}"),
    "a step of 5,000 digits": lines(*ROWS, '{"step": ' + "9" * 5000 + ', "loss": 1.0}'),
    "1e400": lines(*ROWS, '{"step": 900, "loss": 1e400, "grad_norm": -1e400}'),
    "text of 5,000 digits": lines(*ROWS, json.dumps({"step": 900, "loss": "9" * 5000})),
    "steps below zero": lines(*(json.dumps({"step": -s, "loss": 1.0}) for s in range(50))),
    "steps that are fractions": lines(
        *(json.dumps({"step": s / 7, "loss": 1.0}) for s in range(9))
    ),
    "steps that are huge": lines(*(json.dumps({"step": s * 1e300, "loss": 1.0}) for s in range(9))),
    "steps that are NaN": lines(*(json.dumps({"step": "nan", "loss": 1.0}) for _ in range(9))),
    "steps that are truth values": lines(*(json.dumps({"step": True, "loss": 1.0}) for _ in "ab")),
    "one step again and again": lines(*(json.dumps({"step": 5, "loss": 1.0}) for _ in range(99))),
    "steps in no order": lines(*random.Random(1).sample(ROWS, len(ROWS))),
    "steps that fall": lines(*ROWS[::-1]),
    "a hundred restarts": lines(*(ROWS[:5] * 100)),
    "losses of all kinds": lines(
        *(
            json.dumps({"step": s, "loss": value, "grad_norm": value})
            for s, value in enumerate(("1.5", "1e-5", "NaN", "inf", None, [], {}, True, "x", 0, -1))
        )
    ),
    "norms that come and go": lines(
        *(json.dumps({"step": s, "norms": {f"layer {s % 7}": 1.0}}) for s in range(1, 60))
    ),
    "layers that steer a terminal": lines(
        *(json.dumps({"step": s, "norms": {"\x1b[2Ja": 1.0, "[b]": "NaN"}}) for s in range(1, 60))
    ),
    "a word of control codes": lines(*ROWS, json.dumps({"step": 900, "loss": "\x1b]0;x\x07"})),
    "mixed formats": lines(*ROWS[:20], "iter 500: loss 1.5, time 1ms", "step,loss", "501,1.5"),
    "a traceback in between": lines(*ROWS[:20], "Traceback (most recent call last):", *ROWS[20:]),
    "numbers as keys": lines(*ROWS, '{"1": 2, "step": 900, "loss": 1.0}'),
    "nested too deep in the middle": lines(*ROWS[:20], '{"a":' * 5000, *ROWS[20:]),
    "quotes that do not end": 'step,loss,grad_norm\n1,1.5,"1.0\n2,1.5,1.0\n',
    "a table with ragged rows": "step,loss,grad_norm\n1\n2,1.5\n3,1.5,1.0\n4,1.5,1.0,9\n",
    "a table appended to itself": 2 * ("step,loss,grad_norm\n" + "1,1.5,1.0\n2,1.5,1.0\n"),
    "a table with one name twice": "step,loss,loss\n1,1.5,1.6\n2,1.5,1.6\n",
    "a table of 5,000 columns": "step,loss" + ",c" * 5000 + "\n1,1.5" + ",2" * 5000 + "\n",
    "a formula in a table": "step,loss,=cmd|'/c calc'!A0\n1,1.5,2\n2,1.5,2\n",
    "colours without an end": "\x1b[" * 500 + "step: 1 loss: 1.5\n",
    "a console line of words": "loss " * 700 + "\nstep: 1 loss: 1.5\n",
    "a console of dashes": "-" * 3900 + "\nstep: 1  loss: 1.5  grad_norm: 1.0\n",
    "nan in braces that are no JSON": '{"step": 1, "loss": nan, "grad_norm": inf}\n' * 3,
    "UTF-16": json_lines().encode("utf-16"),
    "UTF-16 without a mark": json_lines().encode("utf-16-be"),
    "UTF-16 that is cut": json_lines().encode("utf-16")[:-1],
    "UTF-32": json_lines().encode("utf-32"),
    "old Mac lines": json_lines().replace("\n", "\r"),
    "gzip": gzip.compress(json_lines().encode()),
    "gzip that is cut": cut(gzip.compress(json_lines().encode(), 1), 0.7),
    "an array that is cut": cut("[" + ",".join(ROWS) + "]", 0.6),
    "a trainer state that is cut": cut(trainer_state(), 0.6),
    "an object of columns of other lengths": json.dumps({"loss": [1.5, 1.4], "grad_norm": [1.0]}),
    **{f"flipped bytes {seed}": flipped(seed) for seed in range(8)},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_log_gets_one_sentence(name, tmp_path):
    suffix = ".csv" if "table" in name or "header" in name else ".jsonl"
    path = written(tmp_path / f"log{suffix}", REFUSED[name])

    outcome = attack(["doctor", str(path)], place=tmp_path)

    assert outcome.status == 2


@pytest.mark.parametrize("name", JUDGED)
def test_what_can_be_read_of_a_spoiled_log_is_judged(name, tmp_path):
    path = written(tmp_path / "log.jsonl", JUDGED[name])

    outcome = attack(["doctor", str(path)], place=tmp_path, ok=True)

    assert outcome.status in (0, 1), outcome.err
    assert "Read: " in outcome.out


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pipe(path):
    os.mkfifo(path)


def listener(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


def events(path):
    path.mkdir()
    written(path / "events.out.tfevents.1.host", event_file(b"a" * 40, b"b", spoil=2**60))


def offline(path):
    run = path / "wandb" / "offline-run-20250101_000000-abc"
    run.mkdir(parents=True)
    written(run / "run-abc.wandb", b":W&B\xe1\xbe\x00")


def archive(path):
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("log.jsonl", json_lines())


def runs(path):
    for name in ("a", "b", "\x1b[2Jc"):
        (path / name).mkdir(parents=True)
        written(path / name / "events.out.tfevents.1.host", event_file(b"x"))


def checkpoints(path):
    for name in ("checkpoint-10", "checkpoint-x", "checkpoint-" + "9" * 40):
        (path / name).mkdir(parents=True)
        (path / name / "trainer_state.json").mkdir()


def folder_of_pipes(path):
    path.mkdir()
    for name in ("metrics.csv", "trainer_state.json", "events.out.tfevents.1.x"):
        os.mkfifo(path / name)


PLACES = {
    "nothing": lambda path: None,
    "a pipe": pipe,
    "a socket": listener,
    "an empty folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nowhere": lambda path: path.symlink_to(path.parent / "nowhere"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to random": lambda path: path.symlink_to("/dev/urandom"),
    "an event file with wrong checksums": events,
    "an offline run of W&B": offline,
    "a zip archive": archive,
    "several TensorBoard runs": runs,
    "checkpoints without a state": checkpoints,
    "a folder of pipes": folder_of_pipes,
    "an array of numpy": lambda path: written(path, np.arange(4).tobytes()),
    "a folder in a trainer's name": lambda path: (path / "trainer_state.json").mkdir(parents=True),
    "a run without a log": lambda path: (path / "watch.json").mkdir(parents=True),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_place_without_a_log_gets_one_sentence(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PLACES[name](tmp_path / "log")

    attack(["doctor", str(tmp_path / "log")], place=tmp_path)


@pytest.mark.parametrize("name", ["x" * 300, "a\x1b[2Jb", "[bold]", "a\nb", "\u202egnp.log"])
def test_a_name_that_is_odd_is_quoted(name, tmp_path):
    attack(["doctor", str(tmp_path / name)], place=tmp_path)
