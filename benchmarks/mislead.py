"""When gradients mislead: how well they predict ablation, on three models.

    python benchmarks/small_gpt2.py FOLDER
    python benchmarks/mislead.py FOLDER [--text wikitext2_raw_test.txt] [--units 200] [--keep]

Models: SmolLM2-135M, the shipped city model (on questions about distances), and the GPT-2-like one
in FOLDER (on the shipped plays). Each is measured by `layers` (dimensions and whole outputs of
MLPs), `flow` (heads, outputs of attention and MLPs) and, where there is a dictionary or a question,
`sae` and `tokens`; then `backlight validate` changes units of each run. `--keep` writes the tables
into docs/when-gradients-mislead.md.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import backlight
from backlight.stats.agreement import LEAST, Effects, agreement, separation
from backlight.stats.first_order import LIKELY_WRONG_ABOVE
from backlight.surveys.validation.names import SIZES, size_names
from backlight.tables import Table

DOCS = Path(__file__).parents[1] / "docs" / "when-gradients-mislead.md"
KINDS = ("dimension", "feature", "head", "site", "position")
MODELS = {"smollm2": "SmolLM2-135M", "city": "city model", "gpt2": "small GPT-2"}
TEMPLATE = {
    "template": "The capital of {country} is",
    "answer": " {capital}",
    "wrong_answer": " {other}",
    "objective": "logit_difference",
    "fields": [
        {"country": country, "capital": capital, "other": other}
        for country, capital, other in (
            ("France", "Paris", "Rome"),
            ("Italy", "Rome", "Paris"),
            ("Japan", "Tokyo", "Berlin"),
            ("Germany", "Berlin", "Tokyo"),
            ("Spain", "Madrid", "London"),
            ("England", "London", "Madrid"),
            ("Egypt", "Cairo", "Moscow"),
            ("Russia", "Moscow", "Cairo"),
        )
    ],
}


def runs(asked: argparse.Namespace) -> Iterator[tuple[str, str, Any]]:
    """Measure every model in every way that it can be."""
    text = {"num_samples": 32, "max_length": 64}
    if asked.text is None:
        text |= {"dataset": "shakespeare", "min_characters": 300}
    else:
        text |= {"dataset": str(asked.text), "min_characters": 300}
    smollm2 = {"model_name": "smollm2", **text}
    yield "smollm2", "layers", backlight.layers(**smollm2)
    yield "smollm2", "flow", backlight.flow(**smollm2)
    yield "smollm2", "sae", backlight.sae(**smollm2, sae_path="smollm2", splice="error")
    yield (
        "smollm2",
        "tokens",
        backlight.tokens(model_name="smollm2", sites="mlp.out,attn.z", **TEMPLATE),
    )
    gpt2 = {**text, "model_name": str(asked.folder), "dataset": "shakespeare"}
    yield "gpt2", "layers", backlight.layers(**gpt2)
    yield "gpt2", "flow", backlight.flow(**gpt2)
    yield (
        "city",
        "tokens",
        backlight.tokens(task_type="distance", n_samples=64, sites="mlp.out,attn.z"),
    )
    random = np.random.default_rng(0)
    pairs = random.integers(1, 3000, (64, 2))
    questions = [f"distance(c_{one},c_{other})=" for one, other in pairs]
    yield "city", "layers", backlight.layers(model_name="city", dataset=questions), questions
    yield "city", "flow", backlight.flow(model_name="city", dataset=questions), questions


def main() -> None:
    """Measure, validate, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--backward", default="true")
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args()
    found: list[tuple[str, str, backlight.Results]] = []
    for model, command, measured, *data in runs(asked):
        given = {"dataset": data[0]} if data else {}
        validated = backlight.validate(
            measured, units=asked.units, budget="2h", passages=8, passage_length=48, **given
        )
        found.append((model, command, validated))
        print(model, command, *validated.presentation.summary(validated)[1:], sep="\n  ")
    told = "\n".join(lines(found))
    print(told)
    if asked.keep:
        before, _, rest = DOCS.read_text(encoding="utf-8").partition("<!-- tables: begin -->\n")
        _, _, after = rest.partition("<!-- tables: end -->")
        whole = f"{before}<!-- tables: begin -->\n{told}\n<!-- tables: end -->{after}"
        DOCS.write_text(whole, encoding="utf-8")


def lines(found: list[tuple[str, str, backlight.Results]]) -> Iterator[str]:
    """Write the tables: by kind, by size, and of the warning index."""
    heads = "objective | unit | n | Pearson | without one unit | ranks | signs agree | slope"
    yield f"| model | {heads} |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for model, command, validated in found:
        table = validated.tables["agreement"]
        what = "answer" if command == "tokens" else "loss of text"
        for row in np.flatnonzero((table["layers"] == "all") & (table["num_units"] >= LEAST)):
            cells = (
                *(MODELS[model], what, f"{table['kind'][row]} (`{command}`)"),
                *(table["num_units"][row], _interval(table, "pearson", row)),
                f"{table['pearson_least'][row]:.2f} to {table['pearson_most'][row]:.2f}",
                *(_interval(table, "spearman", row), _interval(table, "sign_agreement", row)),
                f"{table['slope'][row]:.2f}",
            )
            yield f"| {' | '.join(map(str, cells))} |"
    yield ""
    yield "| model | relative size | n | wrong | signs agree | Pearson |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for model in MODELS:
        yield from _by_size(model, [each for name, _, each in found if name == model])
    yield ""
    heads = "unit | n | wrong | AUC of the index | AUC of the size alone | flagged: wrong | right"
    yield f"| model | {heads} |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for model in MODELS:
        yield from _warnings(model, [each for name, _, each in found if name == model])


def _by_size(model: str, validated: list[backlight.Results]) -> Iterator[str]:
    # Objectives differ (nats, logits), so correlations are of each run's own units of change.
    parts = [(each.tables["units"], each) for each in validated]
    for place, name in enumerate(size_names()):
        effects, wrongs = [], []
        for units, each in parts:
            inside = np.digitize(units["relative_size"], SIZES[1:-1]) == place
            inside &= ~np.isnan(units["relative_size"])
            scale = np.abs(units["true"]).max() or 1.0
            weights = each.data["weights"]
            predicted, true = (each.data[key][:, 0] / scale for key in ("predicted", "true"))
            # Passages of different runs are not the same ones; eight of each stand side by side.
            effects.append((predicted[inside] / weights.sum(), true[inside] / weights.sum()))
            wrongs.append(units["wrong"][inside])
        width = min(part[0].shape[1] for part in effects)
        both = [np.concatenate([part[key][:, :width] for part in effects]) for key in (0, 1)]
        wrong = np.concatenate(wrongs)
        seen = agreement(
            Effects(predicted=both[0], true=both[1], weights=np.full(width, 1 / width))
        )
        if not len(wrong):
            continue
        cells = (
            *(MODELS[model], name, len(wrong), f"{100 * wrong.mean():.0f} %"),
            *(_told(seen, "sign_agreement"), _told(seen, "pearson")),
        )
        yield f"| {' | '.join(map(str, cells))} |"


def _warnings(model: str, validated: list[backlight.Results]) -> Iterator[str]:
    tables = [each.tables["units"] for each in validated]
    names = ("kind", "warning_index", "relative_size", "wrong", "predicted", "true")
    units = {name: np.concatenate([table[name] for table in tables]) for name in names}
    live = (units["predicted"] != 0) | (units["true"] != 0)
    for kind in (*KINDS, "all"):
        own = live & ((units["kind"] == kind) | (kind == "all"))
        if not own.any():
            continue
        index, size, wrong = (
            units[name][own] for name in ("warning_index", "relative_size", "wrong")
        )
        seen, alone = separation(index, wrong == 1), separation(size, wrong == 1)
        flagged = index > LIKELY_WRONG_ABOVE
        shares = [
            f"{100 * flagged[wrong == each].mean():.0f} %" if (wrong == each).any() else ""
            for each in (1, 0)
        ]
        area = (
            f"{seen.area:.2f} [{seen.low:.2f}, {seen.high:.2f}]" if seen.area == seen.area else ""
        )
        cells = (
            *(MODELS[model], kind, int(own.sum()), f"{100 * wrong.mean():.0f} %", area),
            *(f"{alone.area:.2f}" if alone.area == alone.area else "", *shares),
        )
        yield f"| {' | '.join(map(str, cells))} |"


def _interval(table: Table, name: str, row: int) -> str:
    value, low, high = (table[f"{name}{end}"][row] for end in ("", "_low", "_high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _told(seen: Any, name: str) -> str:
    value: Mapping[str, float] = seen.estimates
    if value[name] != value[name]:
        return ""
    return f"{value[name]:.2f} [{seen.low[name]:.2f}, {seen.high[name]:.2f}]"


if __name__ == "__main__":
    main()
