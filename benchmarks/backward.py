"""How well each backward rule predicts what happens when a part of SmolLM2 is replaced.

    python benchmarks/backward.py wikitext2_raw_test.txt [--passages 8] [--units 90]

First-order predictions, gradient times change, against the true change of the objective, for each
unit one forward pass from its layer on. Two objectives. Contrasts: indirect objects ("When Mary and
John went to the shop, John gave a book to"), the logit of the one name less that of the other; each
unit is patched at all tokens from the paired prompt, in which the other gives. Corpus: the loss of
passages; units are set to zero. Intervals are 95 % bootstrap over pairs or passages.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata

import backlight
from backlight.capture.effects import keep_streams, value_with
from backlight.capture.record import record
from backlight.data.batches import Batch, Passages
from backlight.models.blocks.rerun import Blocks
from backlight.objectives.answers import AnswerObjective
from backlight.objectives.objective import NextToken

RULES = ("true", "frozen", "relp")
NAMES = [("Mary", "John"), ("Anna", "Tom"), ("Sarah", "James"), ("Laura", "Paul"),
         ("Emma", "Mark"), ("Alice", "David")]  # fmt: skip
TEMPLATES = (
    "When {a} and {b} went to the shop, {giver} gave a book to",
    "Then {a} and {b} had a long talk in the park, and {giver} handed the letter to",
)


@dataclass(frozen=True)
class Unit:
    """A part of a site that is changed: some of its columns."""

    kind: str
    site: str
    columns: slice
    layer: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--passages", type=int, default=8)
    parser.add_argument("--units", type=int, default=90)
    asked = parser.parse_args()
    subject = backlight.load_subject("smollm2", device="cpu")
    subjects = {rule: backlight.with_backward(subject, rule) for rule in RULES}
    random = np.random.default_rng(0)
    print(f"SmolLM2, torch {torch.__version__}.\n")

    plain, paired, objective = contrasts(subject)
    heads = list(units_of(subject, "head"))
    found = compare(subjects, plain, objective, [*units_of(subject, "mlp.out"), *heads], paired)
    mean = record(subject, plain, [subject.sites["embed.out"]], objective=objective).value.mean()
    print(f"Mean logit difference {mean:.2f}.")
    title(f"Contrasts: {len(plain.lengths)} pairs, patched at all tokens from the paired prompt")
    for kind in ("mlp.out", "head"):
        report(kind, [each for each in found if each[0].kind == kind])
    rest = [each for each in found if each[0].kind == "mlp.out" and each[0].layer > 0]
    report("mlp.out, without layer 0", rest)
    (first,) = (each for each in found if each[0].kind == "mlp.out" and each[0].layer == 0)
    told = ", ".join(f"{rule} {first[2][rule].mean():+.2f}" for rule in RULES)
    print(f"\nmlp.out of layer 0: true change {first[1].mean():+.2f}, predicted by {told}.")

    batch = corpus(subject, asked.text, asked.passages)
    chosen = [*units_of(subject, "mlp.out")]
    for kind in ("head", "dimension"):
        every = list(units_of(subject, kind))
        chosen += [every[place] for place in random.choice(len(every), asked.units, replace=False)]
    found = compare(subjects, batch, NextToken(), chosen, None)
    title(
        f"Corpus loss: {asked.passages} passages of {batch.input_ids.shape[1]} tokens, set to zero"
    )
    for kind in ("dimension", "head", "mlp.out"):
        report(kind, [each for each in found if each[0].kind == kind])


def contrasts(subject) -> tuple[Batch, Batch, AnswerObjective]:
    """Make the pairs: in one prompt b gives (the answer is a), in the other a does."""
    plain, paired, wrong = [], [], []
    for template in TEMPLATES:
        for a, b in NAMES:
            prompts = (template.format(a=a, b=b, giver=giver) for giver in (b, a))
            ids = [subject.tokenizer(each)["input_ids"] for each in (*prompts, f" {a}", f" {b}")]
            assert len(ids[0]) == len(ids[1]), (a, b)
            assert len(ids[2]) == len(ids[3]) == 1, (a, b)
            plain.append(np.array([*ids[0], *ids[2]]))
            paired.append(np.array([*ids[1], *ids[2]]))
            wrong.append(ids[3][0])
    starts = np.array([len(each) - 1 for each in plain])
    objective = AnswerObjective(
        goal="logit_difference", starts=starts, stops=starts + 1,
        contrasts=np.zeros(len(plain), dtype=np.int64), wrong=np.array(wrong),
    )  # fmt: skip
    members = range(len(plain))
    return (
        Batch.of(Passages(tokens=plain), members),
        Batch.of(Passages(tokens=paired), members),
        objective,
    )


def corpus(subject, text: Path, count: int) -> Batch:
    """Cut the first long lines of a text into passages of 48 tokens."""
    rows = [row for row in text.read_text(encoding="utf-8").splitlines() if len(row) > 300]
    tokens = [np.array(subject.tokenizer(row)["input_ids"][:48]) for row in rows[:count]]
    return Batch.of(Passages(tokens=tokens), range(count))


def units_of(subject, kind: str) -> Iterator[Unit]:
    for layer in range(subject.num_layers):
        site = subject.sites[
            f"layers.{layer}.attn.z" if kind == "head" else f"layers.{layer}.mlp.out"
        ]
        width = {"head": site.width // site.num_heads, "dimension": 1}.get(kind, site.width)
        for start in range(0, site.width, width):
            yield Unit(kind, site.name, slice(start, start + width), layer)


def compare(subjects, batch, objective, units, paired):
    """Return each unit with its true change and those predicted by each rule, one per passage."""
    plain = subjects["true"]
    names = sorted({unit.site for unit in units})
    sites = [plain.sites[name] for name in names]
    tapes = {
        rule: record(subject, batch, sites, objective=objective, keep_activations=True)
        for rule, subject in subjects.items()
    }
    x = tapes["true"].activations
    other = {name: torch.zeros_like(x[name]) for name in names}
    if paired is not None:
        other = record(plain, paired, sites, objective=objective, keep_activations=True).activations
    valid = batch.valid[:, :, None]
    blocks, streams = Blocks.of(plain), keep_streams(plain, batch, range(plain.num_layers))
    found = []
    for unit in units:
        part = (slice(None), slice(None), unit.columns)
        changed = x[unit.site].clone()
        changed[part] = other[unit.site][part]
        value = value_with(
            plain, batch, objective, {unit.site: changed},
            blocks=blocks, layer=unit.layer, stream=streams[unit.layer],
        )  # fmt: skip
        change = ((changed - x[unit.site]) * valid)[part].double()
        predicted = {
            rule: (tape.gradients[unit.site][part].double() * change).sum(dim=(1, 2)).numpy()
            for rule, tape in tapes.items()
        }
        found.append((unit, (value - tapes["true"].value).numpy(), predicted))
    return found


def title(text: str) -> None:
    print(f"\n{text}\n\n| unit | n | rule | Pearson | Spearman | signs agree | slope |")
    print("| --- | --- | --- | --- | --- | --- | --- |")


def report(kind: str, found) -> None:
    true = np.stack([each[1] for each in found])
    for rule in RULES:
        predicted = np.stack([each[2][rule] for each in found])
        cells = [with_interval(measure, predicted, true) for measure in MEASURES]
        print(f"| {kind} | {len(found)} | {rule} | {' | '.join(cells)} |")


def with_interval(measure: Callable[..., float], predicted, true) -> str:
    random = np.random.default_rng(0)
    draws = random.integers(0, true.shape[1], (500, true.shape[1]))
    values = [
        measure(predicted[:, draw].mean(axis=1), true[:, draw].mean(axis=1)) for draw in draws
    ]
    low, high = np.quantile(values, (0.025, 0.975))
    found = measure(predicted.mean(axis=1), true.mean(axis=1))
    return f"{found:.2f} [{low:.2f}, {high:.2f}]"


MEASURES = (
    lambda p, t: float(np.corrcoef(p, t)[0, 1]),
    lambda p, t: float(np.corrcoef(rankdata(p), rankdata(t))[0, 1]),
    lambda p, t: float((np.sign(p) == np.sign(t)).mean()),
    lambda p, t: float(np.polyfit(p, t, 1)[0]),
)


if __name__ == "__main__":
    main()
