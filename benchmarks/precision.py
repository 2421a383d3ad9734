"""What stopping early does to an interval: orders of one corpus, simulated from stored sums.

    python benchmarks/precision.py --text FILE [--passages 400] [--length 40] [--orders 1000]

The gradients of SmolLM2 at every ``mlp.out`` are taken once, and of each passage the sums are kept
from which all that ``backlight layers`` prints of a layer follows. Then ``--precision`` is played
out in many orders of the passages, window by window, as it is decided in a run. Printed for each
precision: how many passages it took, and how often a layer's 95 % interval (1.96 standard errors)
holds the value of the whole corpus, stopped there and, to compare, after as many passages fixed
beforehand. Drawn without replacement, as a run draws, and with replacement, as from a text without
end, where the corpus cannot run out.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import backlight
from backlight.capture.record import record
from backlight.data.batches import Batch, Passages
from backlight.data.windows import draw_windows
from backlight.objectives.objective import NextToken
from backlight.report.intervals import NORMAL_95
from backlight.surveys.driver.options.precision import LEAST_PASSAGES, NUM_TOP
from backlight.surveys.driver.sites import survey_sites

PRECISIONS = (0.1, 0.07, 0.05, 0.04, 0.03)
_MAY_BE_LARGEST = 200  # dimensions: no other is ever among the largest twenty

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """Sums of each passage: over its tokens, and how many tokens."""

    above: Array  # [passages, numbers]
    below: Array  # [passages]


def main() -> None:
    """Measure once, and play out many orders."""
    words = _arguments()
    if words.sums is None or not words.sums.exists():
        _measure(words)
    with np.load(words.sums) as kept:
        lengths = kept["lengths"]
        layers = {mode: Sums(kept[mode], lengths) for mode in ("mean_abs", "mean")}
        largest = np.argsort(-kept["dimensions"].sum(axis=0))[:_MAY_BE_LARGEST]
        top = Sums(kept["dimensions"][:, largest], lengths)
    print(f"{len(lengths)} passages, {int(lengths.sum())} tokens, {words.orders} orders")
    for name, sums, largest in (
        ("mean_abs of layers", layers["mean_abs"], None),
        ("mean_abs of the largest 20 dimensions", top, NUM_TOP),
        ("signed mean of layers", layers["mean"], None),
    ):
        for replaces in (False, True):
            print(f"\n{name}, drawn {'with' if replaces else 'without'} replacement")
            for target in PRECISIONS:
                _report(sums, target, words.orders, largest=largest, replaces=replaces)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=400)
    parser.add_argument("--length", type=int, default=40)
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--text", type=Path, required=True, help="a text file, paragraph by line")
    parser.add_argument("--sums", type=Path, default=Path("sums.npz"), help="kept between calls")
    return parser.parse_args()


def _measure(words: argparse.Namespace) -> None:
    """Keep the sums of each passage."""
    subject = backlight.load_subject("smollm2", device="cpu", dtype="float32")
    lines = [line for line in words.text.read_text().splitlines() if len(line.strip()) > 50]
    ids = [
        subject.tokenizer(line, truncation=True, max_length=words.length)["input_ids"]
        for line in lines[: words.passages]
    ]
    passages = Passages(tokens=[np.array(each, dtype=np.int64) for each in ids])
    sites = survey_sites(subject, "mlp.out", "all")
    rows: dict[str, list[Array]] = {"mean_abs": [], "mean": [], "dimensions": []}
    for start in range(0, len(ids), 4):
        batch = Batch.of(passages, range(start, min(start + 4, len(ids))))
        tape = record(subject, batch, sites, objective=NextToken("sequence_mean"))
        valid = batch.valid[:, :, None]
        by_site = [torch.where(valid, tape.gradients[site.name].double(), 0) for site in sites]
        sizes = torch.stack([each.abs().sum(dim=1) for each in by_site], dim=1)
        rows["dimensions"].append(sizes.flatten(1).numpy())
        rows["mean_abs"].append(sizes.mean(dim=2).numpy())
        means = torch.stack([each.sum(dim=1).mean(dim=1) for each in by_site], dim=1)
        rows["mean"].append(means.numpy())
    kept = {name: np.concatenate(parts) for name, parts in rows.items()}
    np.savez(words.sums, lengths=np.array([float(len(each)) for each in ids]), **kept)


def _report(
    sums: Sums, target: float, num_orders: int, *, largest: int | None, replaces: bool
) -> None:
    num = len(sums.below)
    empty = Passages(tokens=[np.zeros(2, dtype=np.int64)] * num)
    ends = draw_windows(empty, batch_size=4, seed=0).num_passages
    truth = sums.above.sum(axis=0) / sums.below.sum()
    random = np.random.default_rng(0)
    taken: list[int] = []
    held: list[float] = []
    medians: list[bool] = []
    for _ in range(num_orders):
        order = random.integers(num, size=num) if replaces else random.permutation(num)
        end, chosen, ratio, error = _stopped(sums, order, ends, target, largest)
        inside = np.abs(ratio - truth[chosen]) <= NORMAL_95 * error
        taken.append(end)
        held.append(float(inside.mean()))
        medians.append(bool(inside[np.argsort(error / np.abs(ratio))[len(ratio) // 2]]))
    fixed = _fixed(sums, truth, int(np.median(taken)), num_orders, largest, replaces)
    reached = np.mean([end < num for end in taken])
    low, middle, high = np.percentile(taken, [2.5, 50, 97.5])
    print(
        f"  {100 * target:4.0f} %: passages {middle:4.0f} ({low:.0f} to {high:.0f}), stopped early "
        f"{100 * reached:5.1f} %; intervals that hold: {100 * np.mean(held):.1f} %, of the median "
        f"{100 * np.mean(medians):.1f} %; as many fixed beforehand: {100 * fixed:.1f} %"
    )


def _stopped(
    sums: Sums, order: NDArray[np.int64], ends: Sequence[int], target: float, largest: int | None
) -> tuple[int, NDArray[np.int64], Array, Array]:
    """Measure window after window until it is enough."""
    for end in ends:
        chosen, ratio, error = _estimate(sums, order[:end], largest)
        is_enough = end >= LEAST_PASSAGES and np.median(error / np.abs(ratio)) < target
        if is_enough or end == ends[-1]:
            return end, chosen, ratio, error
    raise AssertionError("there is a last window")


def _estimate(
    sums: Sums, members: NDArray[np.int64], largest: int | None
) -> tuple[NDArray[np.int64], Array, Array]:
    """Estimate the numbers with the errors that are printed (ratio estimator, by passage)."""
    above, below = sums.above[members], sums.below[members, None]
    ratio = above.sum(axis=0) / below.sum()
    chosen = np.argsort(-np.abs(ratio), kind="stable")[:largest]
    spread = ((above[:, chosen] - ratio[chosen] * below) ** 2).sum(axis=0)
    error = np.sqrt(len(members) / (len(members) - 1) * spread) / below.sum()
    return chosen, ratio[chosen], error


def _fixed(
    sums: Sums, truth: Array, end: int, num_orders: int, largest: int | None, replaces: bool
) -> float:
    random, num = np.random.default_rng(1), len(sums.below)
    held: list[float] = []
    for _ in range(num_orders):
        order = random.integers(num, size=num) if replaces else random.permutation(num)
        chosen, ratio, error = _estimate(sums, order[:end], largest)
        held.append(float((np.abs(ratio - truth[chosen]) <= NORMAL_95 * error).mean()))
    return float(np.mean(held))


if __name__ == "__main__":
    main()
