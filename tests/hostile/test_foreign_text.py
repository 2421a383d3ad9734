"""Every command, on a model, a text and folders whose every name is an attack on who shows it."""

import csv
import itertools
import json
import re
import xml.dom.minidom

import pytest
import torch
import yaml
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from backlight.dictionaries.formats import saelens
from zoo.dictionaries import random_dictionary
from zoo.hostile import attack
from zoo.models import tiny_model

POISON = (
    "<script>alert(1)</script>",
    "</svg><!--",
    "&amp;\"'onload='x'",
    "[red]",
    "[/]",
    "[link=http://x]y[/link]",
    ":bomb:",
    "\x1b[2J",
    "\x1b]0;owned\x07",
    "\x9b31m",
    "\x00\x08",
    "$\\frac$",
    "$",
    "\\",
    "_^{}",
    "=cmd()",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "'=x",
    "\u202egnirts",
    "\u2066\u200f",
    "\u200b",
    "e" + "\u0301" * 40,
    "中文",
    "\U0001f525",
    "{field}",
    "%s",
    "x" * 300,
)
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_FORMULA = re.compile(r"[=+\-@]")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|-inf", re.IGNORECASE)
_NAME = "$\\frac$ [red]\x1b[31m\u202e <b>=1"
_FOLDER = "$\\frac$ [red] <b>=1"  # a directory for results must be printable


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("poison")
    torch.manual_seed(0)
    model = folder / f"{_NAME} model"
    tiny_model("llama").save_pretrained(model)
    known = {
        word: number for number, word in enumerate(["<pad>", "<unk>", *POISON, "a", "b", "is"])
    }
    tokenizer = Tokenizer(WordLevel(known, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>"
    ).save_pretrained(model)
    texts = [text for text in POISON if "\0" not in text]  # NUL in a file of text is refused
    rows = [" ".join(texts[start:] + texts[:start]) for start in range(0, len(texts), 2)]
    (folder / f"{_NAME}.txt").write_text("\n".join(rows), encoding="utf-8")
    dictionary = random_dictionary(32, dtype=torch.float32)
    saelens.write(
        dictionary,
        folder / f"{_NAME} sae" / "layer_1",
        model_name=_NAME,
        hook_name="blocks.1.hook_mlp_out",
    )
    return folder


@pytest.fixture
def run(place, monkeypatch):
    """Run a command on all of it; all that it prints and writes is looked at."""
    monkeypatch.chdir(place)

    def run(command, *words, out=None):
        results = [place / "runs", place / "page.html"]
        done = attack([command, *words], place=place, results=results, ok=True)
        assert done.status == 0, done.err
        for path in (place / "runs").rglob("*"):
            if path.is_file():
                _look_at(path)
        return done

    return run


def _look_at(path):
    if path.suffix in (".png", ".npz", ".npy"):
        return
    text = path.read_text(encoding="utf-8")
    assert not _STEERING.search(text), path
    if path.suffix == ".csv":
        for row in csv.reader(text.splitlines()):
            for cell in row:
                assert not _FORMULA.match(cell) or _NUMBER.fullmatch(cell), (path, cell)
    if path.suffix == ".svg":
        xml.dom.minidom.parseString(text)
        assert "<script" not in text
    if path.suffix == ".html":
        assert "<script>alert" not in text
    if path.suffix == ".json":
        json.loads(text)
    if path.suffix == ".yaml":
        yaml.safe_load(text)


def _words(**options):
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


@pytest.fixture
def measured(place):
    return _words(
        model_name=place / f"{_NAME} model",
        dataset=place / f"{_NAME}.txt",
        device="cpu",
        num_samples=6,
        max_length=16,
    )


def test_layers(run, measured):
    done = run("layers", *measured, "--output_dir", f"runs/{_FOLDER} layers")

    assert "[red]" in done.out
    whole = run("layers", *measured, "--table")
    assert r"[red]\x1b[31m\u202e" in whole.out
    assert run("report", f"runs/{_FOLDER} layers").out.count("the page redrawn") == 1


def test_flow(run, measured):
    run("flow", *measured, "--output_dir", f"runs/{_FOLDER} flow")


def test_features(run, measured, place):
    words = _words(sae_path=place / f"{_NAME} sae", output_dir=f"runs/{_FOLDER} sae")

    done = run("sae", *measured, *words, "--allow_poor_reconstruction")

    assert "[link=http" in done.out or "$" in done.out


def test_sites(run, place):
    assert "[red]" in run("sites", str(place / f"{_NAME} model")).out


def test_prompts(run, place):
    pairs = list(itertools.pairwise(POISON))
    config = {
        "model_name": str(place / f"{_NAME} model"),
        "device": "cpu",
        "template": "a {thing} b $\\frac$ is",
        "answer": " {other}",
        "fields": [{"thing": one, "other": two} for one, two in pairs],
        "target_layers": "1",
        "color_by": "thing",
        "output_dir": f"runs/{_FOLDER} tokens",
    }
    (place / "runs").mkdir(exist_ok=True)
    path = place / "runs" / "prompts.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")

    run("tokens", str(path))
    run("report", f"runs/{_FOLDER} tokens")
    assert "a <script>alert" in run("tokens", str(path), "--list_positions").out


def test_doctor(run, measured, place):
    words = [word for pair in zip(measured[::2], measured[1::2], strict=True) for word in pair]
    at = words.index("--num_samples")
    done = attack(
        ["doctor", *words[:at], *words[at + 2 :], "--html", "page.html"],
        place=place,
        results=[place / "runs", place / "page.html"],
        ok=True,
    )

    assert done.status in (0, 1)
    assert "[red]" in done.out
    page = (place / "page.html").read_text(encoding="utf-8")
    assert not _STEERING.search(page)
    assert "<b>=1" not in page


def test_a_log_of_strange_names(run, place):
    log = place / "runs" / "log.jsonl"
    log.parent.mkdir(exist_ok=True)
    norms = {f"{word}.weight": 0.5 for word in POISON}
    lines = [json.dumps({"step": step, "loss": 2.0, "norms": norms}) for step in range(1, 30)]
    log.write_text("\n".join(lines), encoding="utf-8")

    attack(
        ["doctor", str(log), "--html", "page.html"],
        place=place,
        results=[place / "runs", place / "page.html"],
        ok=True,
    )

    page = (place / "page.html").read_text(encoding="utf-8")
    assert not _STEERING.search(page)
    assert "<script>alert" not in page
