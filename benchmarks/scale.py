"""From how many workers on merging costs more than measuring.

    python benchmarks/scale.py [--model_name smollm2] [--dataset shakespeare] [--num_samples 128]

Some real shards of `layers` and `flow` are measured in this process, and their states published and
merged in memory as a run does it; from these times a run of 1,024 shards is simulated. One driver
publishes and merges, and a worker waits for its next shard until its state is merged, as with
`--workers`. Starting workers and sending states are not in it.
"""

import argparse
import heapq
import time
from dataclasses import dataclass

import torch

from backlight.runs.shards import MOST_SHARDS
from backlight.runs.shelves import Memory
from backlight.runs.states import ShardStates
from backlight.surveys.driver.clock import Clock
from backlight.surveys.driver.declaration import Survey
from backlight.surveys.driver.opening import Opening
from backlight.surveys.flow import FLOW
from backlight.surveys.layers import LAYERS

WORKERS = (1, 10, 100, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one shard costs: seconds of a worker, seconds of the driver, bytes of its state."""

    measure: float
    merge: float
    size: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_name", default="smollm2")
    parser.add_argument("--dataset", default="shakespeare")
    parser.add_argument("--num_samples", type=int, default=128)
    asked = vars(parser.parse_args())
    torch.set_num_threads(1)
    times = " | ".join(f"{workers:,} workers" for workers in WORKERS)
    print(f"| survey | a shard | its state | merging it | {times} | merging costs more from |")
    print(f"| --- | --- | --- | --- | {' | '.join('---' for _ in WORKERS)} | --- |")
    for survey in (LAYERS, FLOW):
        print(row(survey.name, measured(survey, asked)), flush=True)


def measured(survey: Survey, asked: dict[str, object]) -> Cost:
    """Measure some shards of a survey, then publish and merge their states; at least two shards."""
    options = survey.options(**asked)
    sharding = survey.door("measure").prepare(options, Opening(options, None, Clock())).sharding
    num = len(sharding.shards)
    if num < 2:
        raise SystemExit("There is one shard only, and nothing to merge: raise --num_samples.")
    begun = time.perf_counter()
    states = []
    for shard in range(num):
        state = sharding.fresh()
        for _ in sharding.measure(shard, state):
            pass
        states.append(state.state())
    between = time.perf_counter()
    shelf = ShardStates(num, Memory(), sharding.join, owner="")
    for shard, state in enumerate(states):
        shelf.publish(shard, state)
    ended = time.perf_counter()
    size = max(sum(array.nbytes for array in state.values()) for state in states)
    return Cost(measure=(between - begun) / num, merge=(ended - between) / num, size=size)


def seconds(cost: Cost, workers: int, shards: int = MOST_SHARDS) -> float:
    """Simulate a run: how long it takes until the last state is merged."""
    ready = [cost.measure] * min(workers, shards)
    waiting, driver = shards - len(ready), 0.0
    while ready:
        now = max(driver, ready[0])
        done = 0
        while ready and ready[0] <= now:
            heapq.heappop(ready)
            done += 1
        driver = now + done * cost.merge
        begun = min(done, waiting)  # only then are those workers given their next shards
        waiting -= begun
        for _ in range(begun):
            heapq.heappush(ready, driver + cost.measure)
    return driver


def crossing(cost: Cost) -> float:
    """How many workers bring shards as fast as the driver merges them."""
    return cost.measure / cost.merge


def row(name: str, cost: Cost) -> str:
    """Write a line of the table."""
    times = " | ".join(f"{seconds(cost, workers):,.1f} s" for workers in WORKERS)
    told = f"{cost.measure:.2f} s | {cost.size / 1e6:.2f} MB | {1000 * cost.merge:.1f} ms"
    return f"| {name} | {told} | {times} | {crossing(cost):,.0f} workers |"


if __name__ == "__main__":
    main()
