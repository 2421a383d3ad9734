"""Runs and logs full of odd numbers: the doctor gives a verdict, whatever they say."""

import json
import random

import pytest

from backlight.training.log.history import STATISTICS
from zoo.hostile import attack

ODD = ("NaN", "Infinity", "-Infinity", None, 0, -0.0, -1, 1e308, 5e-324, 1e-30, 3e30, 1, 0.5)
KINDS = ("Linear", "Embedding", "Experts", "", "LoRALayer")
NAMES = (
    *("h.{n}.mlp.c_fc.weight", "h.{n}.mlp.c_fc.bias", "h.{n}.experts.{m}.weight", "wte.weight"),
    *("{n}.weight", "blocks.{n}.lora_A.weight", "weight", "", "h.{n}.attn.k_proj.bias", "."),
)
SHAPES = ([], [0], [1], [7], [3, 3], [0, 4], [1000, 2], [2, 3, 4], [2**31, 2**20])


def parameters(chance, count):
    found = []
    for place in range(count):
        name = chance.choice(NAMES).format(n=chance.randrange(5), m=chance.randrange(3))
        shape = chance.choice(SHAPES)
        numel = 1
        for size in shape:
            numel *= size
        found.append(
            {
                "name": f"{name}{place}" if chance.random() < 0.3 else name,
                "module": name.rpartition(".")[0],
                "kind": chance.choice(KINDS),
                "shape": shape,
                "numel": chance.choice([numel, numel, 0, 1]),
                "layer": chance.choice([None, 0, 1, 2, 3, -1, 10**9]),
                "depth": chance.choice([place, 0, -5, 10**12]),
                "trainable": chance.random() < 0.8,
            }
        )
    return found


def number(chance, strange):
    return chance.choice(ODD) if chance.random() < strange else abs(chance.gauss(1, 0.2))


def size(chance, strange):
    """Make a number that a norm may be; a negative one is a damaged log, which is refused."""
    found = number(chance, strange)
    return found.lstrip("-") if isinstance(found, str) else found and abs(found)


def records(chance, count, width, strange):
    names = [name for name in STATISTICS if chance.random() < 0.8]
    step = chance.choice([0, 1, 1, 10**6])
    for _ in range(count):
        step += chance.choice([1, 1, 10, 10**12]) if strange else 1
        table = {name: [size(chance, strange) for _ in range(width)] for name in names}
        yield {
            "kind": "step",
            "step": step,
            "norm": size(chance, strange),
            "clipped_norm": size(chance, strange),
            "learning_rates": [size(chance, strange) for _ in range(chance.randrange(3))],
            "scale": size(chance, strange),
            "parameters": table,
        }
        yield {"kind": "loss", "steps": [step], "losses": [number(chance, strange)]}
        if chance.random() < 0.1:
            yield {
                "kind": "event",
                "step": chance.choice([step, 0, 10**15]),
                "what": chance.choice(["non_finite", "skipped", "something else"]),
                "where": chance.choice(["weight", "nowhere"]),
                "module": chance.choice([None, "h.1", "no.such.module", ""]),
                "parameter": chance.choice([None, "h.1.mlp.c_fc.weight", "no.such.parameter"]),
                "text": chance.choice(["", "It broke.", "..."]),
            }


@pytest.mark.parametrize("seed", range(60))
def test_a_run_of_odd_numbers_has_a_verdict(seed, tmp_path):
    chance = random.Random(seed)
    width, count = chance.choice([0, 1, 2, 9, 20]), chance.choice([0, 1, 2, 3, 9, 40, 120])
    run = tmp_path / "run"
    run.mkdir()
    header = {"format": 1, "parameters": parameters(chance, width)}
    (run / "watch.json").write_text(json.dumps(header), encoding="utf-8")
    lines = records(chance, count, width, chance.choice([0.0, 0.02, 0.3, 1.0]))
    (run / "steps.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )
    words = ["doctor", str(run)]
    if seed in (20, 30):
        words += ["--html", str(tmp_path / "page.html")]

    outcome = attack(words, place=tmp_path, results=[tmp_path / "page.html"], ok=True)

    assert outcome.status in (0, 1), outcome.err


@pytest.mark.parametrize("seed", range(40))
def test_a_plain_log_of_odd_numbers_has_a_verdict(seed, tmp_path):
    chance = random.Random(1000 + seed)
    strange = chance.choice([0.0, 0.05, 0.5, 1.0])
    log = tmp_path / "log.jsonl"
    lines = []
    for step in range(1, chance.choice([2, 3, 10, 60, 200])):
        line = {"step": step}
        if seed % 4:
            line["grad_norm"] = number(chance, strange)
        if seed % 3:
            line["loss"] = number(chance, strange)
        if seed % 4 == 0:
            sizes = [number(chance, strange) for _ in range(seed % 7)]
            line["norms"] = {f"layer {n}": size for n, size in enumerate(sizes) if size != 1e308}
        lines.append(json.dumps(line) + "\n")
    log.write_text("".join(lines), encoding="utf-8")

    outcome = attack(["doctor", str(log)], place=tmp_path, ok=True)

    if outcome.status == 2:  # nothing in it was understood
        assert "grad_norm" in outcome.err or "norm" in outcome.err
