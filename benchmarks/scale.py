"""From how many workers on merging costs more than measuring.

    python benchmarks/scale.py [--model_name smollm2] [--dataset shakespeare] [--keep]

Some shards of every survey are measured in this process by one thread, and their states published
and merged in memory as a run does it; from these times a run of 1,024 shards is simulated. One
driver publishes and merges; a worker is given its next shard as soon as the driver takes its
state, and waits until then. One worker is this process alone, which measures and merges in turn.
Starting workers, sending states and writing them to a disk are not in it.

So that it takes minutes, the measured shards have fewer tokens (`--tokens`) than those of a run,
and their seconds are those of as many tokens as a run's have. Most states are as large whatever was
seen; one of `tokens` has a row for each prompt, so what its mergers take is scaled too, and they
grow towards the root of the tree.
"""

import argparse
import heapq
import time
from dataclasses import dataclass, replace
from itertools import product
from math import log2
from typing import Any

import torch
from layers import README

from backlight.models.lending import borrowed
from backlight.runs.shards import LEAST_TOKENS, MOST_SHARDS, cut
from backlight.runs.shelves import Memory
from backlight.runs.states import Arrays, ShardStates
from backlight.surveys import SURVEYS
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.material.opening import Opening
from backlight.surveys.driver.measurement import Measurement
from backlight.surveys.driver.shards.sharding import Sharding, tokens_of
from backlight.surveys.features.measure.chunks import enough_tokens

TEMPLATE = "When {one} met {other} at the shop, {one} gave the {thing} to"
WORKERS = (1, 10, 100, 1000)
BEGIN, END = "<!-- scale: begin -->", "<!-- scale: end -->"
NAMES = ("Mary", "John", "Anna", "Paul", "Ruth", "Karl", "Vera", "Hugo", "Emma", "Ivan")
THINGS = ("book", "drink", "letter", "basket", "ring", "coat", "key", "map", "lamp", "apple")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one shard costs.

    Attributes:
        tokens: How many tokens it has.
        measure: Seconds of a worker.
        merge: Seconds of the driver, its share of the mergers.
        size: Bytes of its state.
    """

    tokens: int
    measure: float
    merge: float
    size: float

    def of(self, tokens: int, *, levels: float | None) -> "Cost":
        """Scale it to a shard of more tokens, as alike as they are.

        Args:
            tokens: How many.
            levels: How many times as many levels the tree has, of a state that has rows for what
                was seen; None of one that is as large whatever was seen.
        """
        times = tokens / self.tokens
        measure = times * self.measure
        if levels is None:
            return replace(self, tokens=tokens, measure=measure)
        merge, size = times * levels * self.merge, times * self.size
        return Cost(tokens=tokens, measure=measure, merge=merge, size=size)


def main() -> None:
    words = _arguments()
    torch.set_num_threads(1)
    times = " | ".join("1 worker" if n == 1 else f"{n:,} workers" for n in WORKERS)
    lines = [
        f"{words.model_name}, {words.dataset}: {words.shards} shards of about {words.tokens} "
        f"tokens measured, one thread, torch {torch.__version__}.",
        "",
        f"| survey | tokens of a shard | measuring it | its state | merging it | {times} | "
        "merging costs more from |",
        f"| {' | '.join(['---'] * (6 + len(WORKERS)))} |",
    ]
    print("\n".join(lines), flush=True)
    for survey in words.surveys:
        lines.append(row(survey, measured(survey, words)))
        print(lines[-1], flush=True)
    if words.keep:
        keep("\n".join(lines))


def measured(survey: str, words: argparse.Namespace) -> Cost:
    """Measure some shards of a survey, then publish and merge their states."""
    measurement = prepared(survey, words)
    sharding, num = measurement.sharding, words.shards
    begun = time.perf_counter()
    with borrowed(measurement.corpus.subject.model):
        states = [state_of(sharding, shard) for shard in range(num)]
    between = time.perf_counter()
    shelf = ShardStates(num, Memory(), sharding.join, owner="")
    for shard, state in enumerate(states):
        shelf.publish(shard, dict(state))
    ended = time.perf_counter()
    corpus = measurement.corpus
    seen = sum(tokens_of(corpus.passages, corpus.batches)[: sharding.shards[num - 1].stop])
    size = max(sum(array.nbytes for array in state.values()) for state in states)
    cost = Cost(
        tokens=round(seen / num),
        measure=(between - begun) / num,
        merge=(ended - between) / num,
        size=size,
    )
    tokens = enough_tokens(size) if survey == "sae" else LEAST_TOKENS
    return cost.of(
        tokens, levels=(1 + log2(MOST_SHARDS)) / (1 + log2(num)) if survey == "tokens" else None
    )


def prepared(survey: str, words: argparse.Namespace) -> Measurement[Any, Any]:
    """Open model and text, cut it into small shards, and measure one to warm up."""
    kind = SURVEYS[survey]
    options = kind.options(model_name=words.model_name, quiet=True, **asked(survey, words))
    found = kind.door("measure").prepare(options, Opening(options, None, Clock()))
    num_tokens = tokens_of(found.corpus.passages, found.corpus.batches)
    shards = cut(num_tokens, least=words.tokens)
    if len(shards) < words.shards:
        raise SystemExit(f"{survey}: the text has {len(shards)} shards; raise --num_samples.")
    found = replace(found, sharding=replace(found.sharding, shards=shards))
    with borrowed(found.corpus.subject.model):
        state_of(found.sharding, 0)
    return found


def asked(survey: str, words: argparse.Namespace) -> dict[str, Any]:
    """Choose what else a survey is asked."""
    if survey == "tokens":
        ways = [each for each in product(NAMES, NAMES, THINGS) if each[0] != each[1]]
        values = [dict(zip(("one", "other", "thing"), each, strict=True)) for each in ways]
        return {
            "template": TEMPLATE,
            "answer": " {other}",
            "fields": values[: words.num_samples],
            "n_samples": words.num_samples,
            "batch_size": 8,
        }
    text = {"dataset": words.dataset, "num_samples": words.num_samples}
    return text | ({"sae_path": words.sae_path} if survey == "sae" else {})


def state_of(sharding: Sharding[Any], shard: int) -> Arrays:
    """Measure a shard."""
    state = sharding.fresh()
    for _ in sharding.measure(shard, state):
        pass
    return state.state()


def seconds(cost: Cost, workers: int, shards: int = MOST_SHARDS) -> float:
    """Simulate a run: how long it takes until the last state is merged."""
    if workers == 1:
        return shards * (cost.measure + cost.merge)
    ready = [cost.measure] * min(workers, shards)
    waiting, driver = shards - len(ready), 0.0
    while ready:
        taken = max(driver, heapq.heappop(ready))
        if waiting:  # the worker goes on while its state is merged
            waiting -= 1
            heapq.heappush(ready, taken + cost.measure)
        driver = taken + cost.merge
    return driver


def crossing(cost: Cost) -> float:
    """How many workers bring shards as fast as the driver merges them."""
    return cost.measure / cost.merge


def row(name: str, cost: Cost) -> str:
    """Write a line of the table."""
    times = " | ".join(f"{seconds(cost, workers):,.0f} s" for workers in WORKERS)
    told = f"{cost.tokens:,} | {cost.measure:.2f} s | {cost.size / 1e6:.2f} MB"
    crossed = f"{crossing(cost):,.0f} workers"
    return f"| {name} | {told} | {1000 * cost.merge:.1f} ms | {times} | {crossed} |"


def keep(text: str) -> None:
    """Put the result into the README beside this file."""
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    surveys = ["layers", "sae", "tokens", "flow"]
    parser.add_argument("--surveys", nargs="+", choices=surveys, default=surveys)
    parser.add_argument("--model_name", default="smollm2")
    parser.add_argument("--dataset", default="shakespeare")
    parser.add_argument("--sae_path", default="smollm2", help="of the survey sae")
    parser.add_argument("--num_samples", type=int, default=300, help="passages; prompts")
    parser.add_argument("--shards", type=int, default=8, help="how many are measured")
    parser.add_argument("--tokens", type=int, default=256, help="of a shard, at least")
    parser.add_argument("--keep", action="store_true", help="write the result into README.md")
    words = parser.parse_args()
    if words.shards < 2:
        parser.error("--shards: of one shard nothing is merged; measure 2 at least")
    return words


if __name__ == "__main__":
    main()
