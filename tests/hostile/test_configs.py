"""Files of options, and words on the command line, that nobody in their right mind would give."""

import os
import re
from pathlib import Path

import pytest

from zoo.hostile import attack

_ALIASES = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
_SECRET = "print('no')"

YAMLS = {
    "bomb of lists": _ALIASES,
    "bomb in an option": "seed: [&a [1,1,1,1,1,1,1,1], &b [*a,*a,*a,*a,*a,*a,*a,*a]"
    + "".join(
        f", &{n} [{','.join([f'*{o}'] * 8)}]" for o, n in zip("bcdefg", "cdefgh", strict=True)
    )
    + "]",
    "bomb of mappings": "a: &a {x: 1, y: 2}\n"
    + "".join(
        f"{n}: &{n} {{x: *{o}, y: *{o}, z: *{o}}}\n"
        for o, n in zip("abcdefghijklmn", "bcdefghijklmno", strict=True)
    ),
    "bomb of merges": "a: &a {k0: 1}\n"
    + "".join(f"b{i}: &b{i} {{<<: [*a, *a, *a], k{i}: [*a, *a]}}\n" for i in range(200)),
    "alias of itself": "seed: &a [*a]\n",
    "alias of nothing": "seed: *b\n",
    "deep lists": "[" * 50_000,
    "deep mappings": "{a: " * 50_000,
    "deep dashes": "- " * 20_000 + "x",
    "deep closed": "seed: " + "[" * 3000 + "]" * 3000,
    "a key twice": "seed: 1\nseed: 2\n",
    "a key twice in quotes": "seed: 1\n'seed': 2\n",
    "huge number": "seed: " + "9" * 5000,
    "large number": "num_samples: " + "9" * 40,
    "huge float": "power: 1e999",
    "huge hexadecimal": "seed: 0x" + "f" * 5000,
    "huge octal": "seed: 0" + "7" * 5000,
    "sexagesimal": "seed: " + ":".join(["59"] * 900),
    "python object": "seed: !!python/object/apply:os.system ['touch hacked']",
    "python name": f"seed: !!python/name:builtins.{_SECRET}",
    "python module": "seed: !!python/module:os",
    "own tag": "seed: !wonder 1",
    "bad whole number": "seed: !!int x",
    "empty whole number": "seed: !!int ''",
    "bad truth": "seed: !!bool x",
    "bad float": "power: !!float x",
    "bad time": "seed: !!timestamp x",
    "impossible date": "seed: 2024-99-99",
    "impossible hour": "seed: 2024-01-01T99:99:99Z",
    "bad binary": "seed: !!binary '***'",
    "binary": "model_name: !!binary aGVsbG8=",
    "set": "seed: !!set {a, b}",
    "ordered": "seed: !!omap [a: 1]",
    "key that is a list": "? [a, b]\n: 1\n",
    "key that is a mapping": "? {a: 1}\n: 1\n",
    "two documents": "seed: 1\n---\nseed: 2\n",
    "list": "- seed\n- 1\n",
    "word": "seed",
    "number": "42",
    "never ending": "seed: [1, 2",
    "tab": "\tseed: 1",
    "control code": "seed: \x07",
    "NUL": "seed: \x00",
    "NUL in a name": 'model_name: "a\\0b"',
    "NUL in a path": 'output_dir: "a\\0b"',
    "half a letter": 'model_name: "\\ud800"',
    "escape in a key": '"\\e[2J": 1',
    "turned key": '"\\u202egnirts": 1',
    "markup in a key": '"[red]<script>": 1',
    "escape in a value": 'layers: "\\e[2J\\e]0;x\\a"',
    "turned value": 'site: "\\u202e\\u2066"',
    "lines in a value": 'aggregation_mode: "a\\nbacklight: done\\nb"',
    "long key": "k" * 100_000 + ": 1",
    "long value": "aggregation_mode: " + "v" * 500_000,
    "long name": "model_name: " + "m" * 100_000,
    "long path": "output_dir: " + "p" * 100_000,
    "many keys": "".join(f"k{number}: 1\n" for number in range(20_000)),
    "nested option": "model: {name: x, trust_remote_code: true}",
    "option that is a mapping": "num_samples: {a: 1}",
    "option that is null": "num_samples:",
    "code switched on": "trust_remote_code: true",
    "code switched on by a word": "trust_remote_code: 'yes'",
    "code switched on by an alias": "x: &x true\ntrust_remote_code: *x",
    "code switched on by a merge": "<<: {trust_remote_code: true}",
    "code from the hub": "attn_implementation: somebody/kernel",
    "not a number": "power: .nan",
    "infinite": "power: -.inf",
    "below zero": "num_samples: -5",
    "home of nobody": "dataset: ~nobody-here/x.txt",
    "layers without end": "layers: 0-99999999999999",
    "many layers": "layers: '" + ",".join(map(str, range(100_000))) + "'",
    "bytes": b"\x80\x81\x82",
    "nothing but a mark": b"\xff\xfe",
    "half of UTF-16": b"\xff\xfes",
    "large": b"# " + b"x" * 60_000_000,
}


@pytest.mark.parametrize("content", YAMLS.values(), ids=YAMLS.keys())
def test_a_strange_file_of_options_is_one_sentence(content, model_folder, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    attack(["layers", str(path), *_tiny(model_folder, content)], place=tmp_path)


def _tiny(folder, content):
    """Name a model and a text that is not there, unless the file does: nothing is measured."""
    text = content if isinstance(content, str) else ""
    words = []
    if "model_name" not in text:
        words += ["--model_name", str(folder)]
    return words if "dataset" in text else [*words, "--dataset", "lost.txt"]


@pytest.mark.parametrize(
    "path", ["/dev/zero", "/dev/null", "/dev/stdin", "/dev/urandom", "/proc/self/mem", "pipe", "."]
)
def test_what_is_no_file_is_no_file_of_options(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")

    attack(["layers", path, "--dataset", "lost.txt"], place=tmp_path)


@pytest.mark.parametrize("command", ["flow", "sae", "tokens", "train-sae", "train-world"])
def test_every_command_refuses_a_bomb(command, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(YAMLS["bomb in an option"], encoding="utf-8")

    attack([command, str(path)], place=tmp_path)


@pytest.mark.parametrize("command", ["layers", "flow", "sae", "tokens", "train-sae"])
def test_no_command_lets_a_file_switch_on_code(command, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("trust_remote_code: on\n", encoding="utf-8")

    assert "--trust_remote_code" in attack([command, str(path)], place=tmp_path).err


PROMPTS = {
    "patterns that multiply": "task_type: distance\nprobe_train: ["
    + ", ".join(["'region:a||region:b'"] * 60)
    + "]",
    "deep patterns": "task_type: distance\nprobe_train: " + "{AND: [" * 30 + "x" + "]}" * 30,
    "no regular expression": "task_type: distance\nprobe_train: 'region:('",
    "repeated without end": "task_type: distance\nprobe_train: 'region:(a{1,99999999999})'",
    "no such column": 'task_type: distance\nprobe_train: "\\e[2J:x"',
    "task of strange letters": 'task_type: "\\u202e\\e[2J[red]"',
    "long task": "task_type: " + "t" * 100_000,
    "options of a task": "task_type: distance\ntask_options: {min_n: .nan}",
    "huge options": "task_type: circlecount\ntask_options: {min_n: 99999999999999999999999}",
    "option that is a list": "task_type: distance\ntask_options: {'[red]': [[[[1]]]]}",
    "sampling": 'task_type: distance\nsampling: {type: "\\e[31m"}',
    "sampling of groups": "task_type: distance\nsampling: {type: within_groups, groups: [x, y]}",
    "groups": "task_type: distance\nsampling: {type: within_groups, groups: [a]}\n"
    'city_groups: {a: {"\\u202e": 1}}',
    "bounds": "task_type: distance\nsampling: {type: within_groups, groups: [a]}\n"
    "city_groups: {a: {bounds: {x: [1, .inf, 3]}}}",
    "city ids": "task_type: distance\nsampling: {type: within_groups, groups: [a]}\n"
    "city_groups: {a: {city_ids: [99999999999999999999]}}",
    "city names": "task_type: distance\nsampling: {type: within_groups, groups: [a]}\n"
    "city_groups: {a: {city_names: '" + "(" * 3000 + "'}}",
    "neither task nor template": "n_samples: 2",
    "both": "task_type: distance\ntemplate: '{a}'",
    "no answer": "template: '{a}'\nfields: {a: [x]}",
    "open brace": "template: 'The {a is'\nanswer: x\nfields: {a: [x]}\nmodel_name: lost",
    "attribute of a field": "template: '{a.__class__}'\nanswer: x\nfields: {a: [x]}\n"
    "model_name: lost",
    "index of a field": "template: '{a[0]}'\nanswer: x\nfields: {a: [x]}\nmodel_name: lost",
    "format of a field": "template: '{a:>999999999}'\nanswer: x\nfields: {a: [x]}\n"
    "model_name: lost",
    "fields of unequal length": "template: '{a} {b}'\nanswer: x\nfields: {a: [x], b: [y, z]}\n"
    "model_name: lost",
    "field of strange letters": 'template: "{\\u202e}"\nanswer: x\nfields: {a: [x]}\n'
    "model_name: lost",
    "fields that are numbers": "template: '{a}'\nanswer: x\nfields: {a: 5}\nmodel_name: lost",
    "table that is a device": "template: '{a}'\nanswer: x\nfields_csv: /dev/zero\nmodel_name: lost",
    "cities that are a device": "task_type: distance\ncities_csv: /dev/zero",
    "cities that are a pipe": "task_type: distance\ncities_csv: pipe",
    "experiment that is a file": "task_type: distance\nexperiment_dir: /dev/null",
    "checkpoint of strange letters": 'task_type: distance\nexperiment_dir: .\ncheckpoint: "\\e[2J"',
    "colour": 'task_type: distance\nn_samples: 4\ncolor_by: "\\e[2J[red]"',
    "no samples": "task_type: distance\nn_samples: 0",
    "very many samples": "task_type: distance\nn_samples: 9999999999999999999999",
}


@pytest.mark.parametrize("content", PROMPTS.values(), ids=PROMPTS.keys())
def test_strange_prompts_are_one_sentence(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("config.yaml").write_text(content, encoding="utf-8")

    attack(["tokens", "config.yaml"], place=tmp_path)


WORDS = [
    [""],
    ["--"],
    ["-"],
    ["\x1b[2J"],
    ["lay\u202eers"],
    ["layers", "--"],
    ["layers", "--\x1b[2J"],
    ["layers", "--\u202e", "1"],
    ["layers", "--num_samples"],
    ["layers", "--num_samples", ""],
    ["layers", "--num_samples", "9" * 5000],
    ["layers", "--num_samples", "1e5"],
    ["layers", "--num_samples", "١٢"],
    ["layers", "--num_samples", "\ud800"],
    ["layers", "--trust_remote_code=maybe"],
    ["layers", "--output_dir"],
    ["layers", "a.yaml", "b.yaml"],
    ["layers", ""],
    ["layers", "~nobody-here/x.yaml"],
    ["layers", "x" * 5000 + ".yaml"],
    ["layers", "\udcff.yaml"],
    ["layers", "$\\frac$.yaml"],
    ["layers", "[red].yaml"],
    ["layers", "--dataset", "\x1b]0;owned\x07.txt"],
    ["layers", "--dataset", "lost.txt", "--model_name", "<script>alert(1)</script>"],
    ["layers", "--dataset", "x" * 5000],
    ["layers", "--dataset", "/dev/zero"],
    ["report"],
    ["report", "\x1b[2J"],
    ["report", "/dev/zero"],
    ["report", "~nobody-here"],
    ["report", "x" * 5000],
    ["doctor", "\u202e.jsonl"],
    ["doctor", "x" * 5000],
    ["lab"] * 2,
    ["lab", "\x1b[2J"],
    ["lab", "softmax-scale", "--seeds", "9" * 30],
    ["sites", "--layers", "0-99999999999999999"],
    ["sites", "\x1b[2J"],
    ["sites", "/dev/null"],
    ["train-sae", "--layer", "-1"],
    ["train-sae", "--layer", "9" * 40],
    ["train-world", "--hidden_size", "9" * 30],
    ["sae", "--sae_path", "\x1b[2J"],
    ["sae", "--chunk_memory", "9" * 400 + "GB"],
    ["sae", "--chunk_memory", "\u202eGB"],
]


@pytest.mark.parametrize("words", WORDS, ids=lambda words: re.sub(r"\W", "_", repr(words))[:60])
def test_strange_words_are_one_sentence(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    attack(words, place=tmp_path)
