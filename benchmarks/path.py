"""What `--path` costs: passes of the model, counted in FLOPs and in seconds, beside the formula.

    python benchmarks/path.py [--num_passages 4] [--max_length 48] [--num_nodes 4] [--repeats 3]

A pass is what a survey of all layers takes for a batch: one forward and one backward pass from the
first layer's input. The formula is N times the sum over sites of 0.4 + 0.6 (L - k) / L; what the
path adds to the plain pass of the survey should be at most 1.1 times that. Seconds are CPU seconds
of this process, contenders interleaved, medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

import backlight
from backlight.capture.path import num_passes, record_path
from backlight.capture.record import record
from backlight.data.batches import Batch, tokenize
from backlight.data.corpora import RowReader
from backlight.models.blocks.rerun import Blocks
from backlight.models.subject import Subject
from backlight.objectives.objective import NextToken

LAYERS = [(0, 1, 5, 15, 25), (0,), (15,), (25,), (29,)]
MOST = 1.1


def main() -> None:
    words = _arguments()
    torch.set_num_threads(1)
    subject = backlight.load_subject("smollm2", device="cpu")
    batch = _batch(subject, words.num_passages, words.max_length)
    plain = _plain(subject, batch)
    contenders = {layers: _path(subject, batch, layers, words.num_nodes) for layers in LAYERS}
    seconds = _medians([plain, *contenders.values()], words.repeats)
    pass_flops = _flops(plain)
    print(f"{words.num_passages} passages of SmolLM2, {batch.num_tokens} tokens; 1 thread.\n")
    print("| layers | formula | FLOPs | less the plain pass | seconds | FLOPs / formula | wanted |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (layers, run), taken in zip(contenders.items(), seconds[1:], strict=True):
        formula = num_passes(layers, subject.num_layers, words.num_nodes)
        flops = _flops(run) / pass_flops
        print(
            f"| {', '.join(map(str, layers))} | {formula:.2f} | {flops:.2f} | {flops - 1:.2f} | "
            f"{taken / seconds[0]:.2f} | {(flops - 1) / formula:.2f} | at most {MOST} |"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num_passages", type=int, default=4)
    parser.add_argument("--max_length", type=int, default=48)
    parser.add_argument("--num_nodes", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def _batch(subject: Subject, num_passages: int, max_length: int) -> Batch:
    rows = RowReader("shakespeare", min_characters=300).first(num_passages)
    passages = tokenize(rows.rows, subject.tokenizer, max_length=max_length)
    return Batch.of(passages, range(num_passages))


def _plain(subject: Subject, batch: Batch) -> Callable[[], object]:
    first = [subject.sites["layers.0.resid.pre"]]
    return lambda: record(subject, batch, first)


def _path(
    subject: Subject, batch: Batch, layers: Sequence[int], num_nodes: int
) -> Callable[[], object]:
    sites = [subject.sites[f"layers.{layer}.mlp.out"] for layer in layers]
    options = {"num_nodes": num_nodes, "objective": NextToken(), "blocks": Blocks.of(subject)}
    return lambda: record_path(subject, batch, sites, **options)


def _medians(runs: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Time each contender in turn, several times."""
    found: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for own, run in zip(found, runs, strict=True):
            start = time.process_time()
            run()
            own.append(time.process_time() - start)
    return [statistics.median(own) for own in found]


def _flops(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


if __name__ == "__main__":
    main()
