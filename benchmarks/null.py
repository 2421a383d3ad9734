"""What `backlight compare` finds where nothing differs, and where a known difference was planted.

    python benchmarks/null.py [--passages 120] [--splits 20] [--speed] [--keep]

SmolLM2 reads one corpus, Shakespeare, once: `backlight layers` (the MLP outputs of all layers) and
`backlight sae` (the shipped dictionary). Runs of up to 64 passages keep the sums of every passage,
so the corpus is read in runs of 60 and their sums are put together. Then, again and again,

- halves: the passages are split into two random halves, which are compared as runs of different
  texts are. How often is nothing found at q 0.05, and how much otherwise?
- same passages: both runs read all passages, and in one of them each number of a passage has 10 %
  of noise whose mean is zero. Runs are paired.
- planted: in one of the two the gradients of 20 units, drawn at random among those that are not
  zero, are multiplied by 1.5. How many are found, with the right sign, how many others are called
  different, and how many of the 20 are among the 20 surest?

`--speed` measures instead how long a paired comparison of 24 x 65,536 made-up features of two runs
on disk takes, and its peak memory, in a process of its own.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from layers import README
from numpy.typing import NDArray

import backlight
from backlight.runs.results import CONSOLIDATED, METADATA, STATISTICS
from backlight.stats.contrast import Groups, discovery_rates, estimates_of, paired, unpaired
from backlight.surveys.driver.results.findings import groups_file
from backlight.surveys.driver.starting import begin
from backlight.surveys.features.options import SaeConfig
from backlight.tables import Table

NUM_LAYERS, NUM_FEATURES = 24, 65536
RATE, FACTOR, NUM_PLANTED, NOISE = 0.05, 1.5, 20, 0.1
AT_ONCE, LENGTH = 60, 32
BEGIN, END = "<!-- null: begin -->", "<!-- null: end -->"
SPEED = """
import json, resource, sys, time
import backlight
start, before = time.perf_counter(), time.process_time()
found = backlight.compare(*sys.argv[1:])
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "cpu": time.process_time() - before,
    "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    "compared": found.metadata["num_compared"],
    "errors": found.metadata["errors"],
}))
"""


def main() -> None:
    words = _arguments()
    text = speed() if words.speed else "\n".join(trials(words.passages, words.splits))
    print(text)
    if words.keep:
        before, _, rest = README.read_text().partition(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def trials(num_passages: int, num_splits: int) -> Iterator[str]:
    """Measure once, and compare what was measured with itself."""
    yield f"{num_passages} passages of {LENGTH} tokens at most, {num_splits} draws of each."
    yield ""
    yield (
        "| units | compared as | statistic | units compared | nothing found | most found | "
        "planted found of 20 | signs right | others found | of the 20 surest, planted |"
    )
    yield "| --- " * 10 + "|"
    texts = passages(num_passages)
    for name, measure in (("dimensions", layers), ("features", features)):
        for statistic, groups in measured(measure, texts).items():
            for way in (halves, same_passages):
                yield row(
                    f"{name} | {way.__name__.replace('_', ' ')} | {statistic}",
                    groups,
                    way,
                    num_splits,
                )


def passages(count: int) -> list[str]:
    """Take paragraphs of the shipped plays, from all over them."""
    packed = files("backlight.data").joinpath("shakespeare_plays.txt.gz").read_bytes()
    rows = [row for row in gzip.decompress(packed).decode().split("\n\n") if len(row) > 100]
    return rows[:: len(rows) // count][:count]


def layers(texts: Sequence[str]) -> backlight.Results:
    return backlight.layers(
        model_name="smollm2", dataset=list(texts), max_length=LENGTH, aggregation_mode="both"
    )


def features(texts: Sequence[str]) -> backlight.Results:
    return backlight.sae(
        model_name="smollm2",
        sae_path="smollm2",
        splice="error",
        dataset=list(texts),
        max_length=LENGTH,
        aggregation_mode="both",
        keep_groups=True,
    )


def measured(measure: Any, texts: Sequence[str]) -> Mapping[str, Groups]:
    """Read the corpus, and put the sums of all passages and layers together, by statistic."""
    runs = [measure(texts[at : at + AT_ONCE]) for at in range(0, len(texts), AT_ONCE)]
    sums = [[_seen(layer) for layer in run.groups.values()] for run in runs]
    below = np.concatenate([run[0]["below"] for run in sums])
    return {
        statistic: Groups(
            above=np.concatenate(
                [np.concatenate([layer[statistic] for layer in run], axis=1) for run in sums]
            ).astype(np.float64),
            below=below.astype(np.float64),
        )
        for statistic in ("mean", "mean_abs")
    }


def _seen(sums: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    kept = sums["below"][:, 0] > 0
    return {name: values[kept] for name, values in sums.items()}


def halves(groups: Groups, random: np.random.Generator, scales: NDArray[np.float64]) -> Any:
    """Compare two halves of the passages."""
    order = random.permutation(len(groups.above))
    middle = len(order) // 2
    first, second = (
        Groups(above=groups.above[own], below=groups.below[own])
        for own in (order[:middle], order[middle:])
    )
    scaled = Groups(above=first.above * scales, below=first.below)
    return unpaired(estimates_of(scaled), estimates_of(second))


def same_passages(groups: Groups, random: np.random.Generator, scales: NDArray[np.float64]) -> Any:
    """Compare the passages with themselves, but for noise."""
    noisy = groups.above * (1 + NOISE * random.normal(size=groups.above.shape))
    return paired(Groups(above=noisy * scales, below=groups.below), groups)


def row(name: str, groups: Groups, way: Any, num_splits: int) -> str:
    """Compare again and again, with nothing and with something planted."""
    width = groups.above.shape[1]
    counts, found, signs, others, first = [], [], [], [], []
    for seed in range(num_splits):
        random = np.random.default_rng(seed)
        q = discovery_rates(way(groups, random, np.ones(width)).p)
        counts.append(int((q <= RATE).sum()))
        planted = random.choice(
            np.flatnonzero(groups.above.any(axis=0)), NUM_PLANTED, replace=False
        )
        scales = np.ones(width)
        scales[planted] = FACTOR
        contrast = way(groups, np.random.default_rng(seed), scales)
        sure = discovery_rates(contrast.p) <= RATE
        sizes = np.sign(groups.above.sum(axis=0)[planted])
        found.append(int(sure[planted].sum()))
        signs.append(int((sure[planted] & (np.sign(contrast.difference[planted]) == sizes)).sum()))
        others.append(int(sure.sum()) - found[-1])
        surest = np.argsort(-np.abs(np.nan_to_num(contrast.t)))[:NUM_PLANTED]
        first.append(len(set(surest) & set(planted)))
    clean = sum(count == 0 for count in counts)
    means = (f"{np.mean(each):.1f}" for each in (found, signs, others, first))
    return (
        f"| {name} | {int((~np.isnan(q)).sum()):,} | {clean} of {num_splits} | {max(counts):,} | "
        f"{' | '.join(means)} |"
    )


def speed() -> str:
    """Time a paired comparison of two made-up runs of 24 x 65,536 features on disk."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [str(made(Path(folder, name), seed)) for seed, name in enumerate("ab")]
        done = subprocess.run(
            [sys.executable, "-c", SPEED, *runs], check=True, capture_output=True, text=True
        )
    found = json.loads(done.stdout)
    return (
        f"{found['compared']:,} features, {', '.join(found['errors'])}: {found['seconds']:.1f} s "
        f"(wanted: at most 10), {found['cpu']:.1f} s of a processor, {found['gigabytes']:.2f} GB "
        "at most (wanted: at most 1)."
    )


def made(path: Path, seed: int) -> Path:
    """Write a run of made-up features; all such runs have read the same passages."""
    random = np.random.default_rng(seed)
    options = SaeConfig(
        model_name="made", sae_path="made", splice="error", keep_groups=True, output_dir=path
    )
    directory = begin(options, "sae", "made", None, {"corpus": {"tokens_sha256": "the same"}})
    assert directory is not None
    statistics, below = {}, np.full((64, 1), 100, np.float32)
    for layer in range(NUM_LAYERS):
        sums = random.gamma(4.0, 0.25, (64, NUM_FEATURES)).astype(np.float32)
        mean = sums.sum(axis=0, dtype=np.float64) / below.sum()
        statistics |= {f"layer_{layer}_mean_abs": mean, f"layer_{layer}_mean_abs_se": mean / 16}
        directory.write_arrays(groups_file(layer), {"mean_abs": sums, "below": below})
    columns = {
        "layer": np.arange(NUM_LAYERS),
        "num_sequences": np.full(NUM_LAYERS, 64),
        "num_dimensions": np.full(NUM_LAYERS, NUM_FEATURES),
    }
    directory.write_table(Table(name="layers", columns=columns))
    directory.write_arrays(STATISTICS, statistics)
    directory.write_arrays(CONSOLIDATED, {"metadata": np.array("{}")})
    directory.write_json(METADATA, {})
    directory.finish({"command": "sae", "complete": True})
    return path


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=120)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
