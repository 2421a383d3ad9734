"""CPU seconds per figure of a run of `backlight layers --aggregation_mode both`.

    python benchmarks/figures.py                    # 18 layers of 768 random dimensions
    python benchmarks/figures.py --run runs/RUN     # the figures of any finished run

Every figure is drawn and rendered as a run does it; nothing is written.
"""

import argparse
import re
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from backlight.report.rendering import rendered
from backlight.runs.results import Results
from backlight.tables import Table

_WANTED = 0.12  # CPU seconds per figure
_PARTS = re.compile(r"layer_\d+_")
_SIZES = 2.0 ** np.arange(-20, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=18)
    parser.add_argument("--dimensions", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--run", type=Path, help="a finished run, instead of random numbers")
    options = parser.parse_args()
    print("| figures | number | CPU seconds each |\n| --- | --- | --- |")
    rounds = [seconds_of(drawings_of(options)) for _ in range(options.repeats)]
    best = min(rounds, key=lambda seconds: sum(map(sum, seconds.values())))
    for kind, seconds in best.items():
        print(f"| {kind} | {len(seconds)} | {np.mean(seconds):.3f} |")
    every = [each for seconds in best.values() for each in seconds]
    print(f"| **all** | {len(every)} | **{np.mean(every):.3f}** (wanted: at most {_WANTED}) |")


def drawings_of(options):
    """List the figures anew, so that nothing is left of an earlier round."""
    from backlight.surveys.layers.figures import draw
    from backlight.surveys.loading import load_results

    if options.run is None:
        return draw(random_results(options.layers, options.dimensions))
    results = load_results(options.run)
    return results.presentation.draw(results)


def seconds_of(drawings) -> dict[str, list[float]]:
    """Draw and render, and measure the time of each figure by its kind."""
    found = defaultdict(list)
    before = time.process_time()
    for drawing in drawings:
        rendered(drawing.name, drawing.make())
        now = time.process_time()
        found[_PARTS.sub("layer_{i}_", drawing.name)].append(now - before)
        before = now
    return found


def random_results(num_layers: int, num_dimensions: int) -> Results:
    """Make up a run in which gradients fall with depth and a few dimensions stick out."""
    random = np.random.default_rng(0)
    layers = np.arange(num_layers)
    scale = 1e-3 * 0.9 ** layers[:, None]
    heavy = random.standard_t(4, size=(num_layers, num_dimensions))
    arrays = {"mean": 0.2 * scale * heavy, "mean_abs": scale * (1 + 0.1 * np.abs(heavy))}
    numbers = {
        f"{mode}{end}": factor * np.abs(values).mean(axis=1)
        for mode, values in arrays.items()
        for end, factor in (("", 1.0), ("_se", 0.1))
    }
    shares = ("participation_ratio", "top_share", "sign_consistency")
    columns = {
        "layer": layers,
        "num_dimensions": np.full(num_layers, num_dimensions),
        **numbers,
        **{name: random.uniform(0.1, 0.9, num_layers) for name in shares},
    }
    single = {name: values.flatten() for name, values in arrays.items()}
    tables = (
        Table(name="layers", columns=columns, units=dict.fromkeys(numbers, "nats/unit")),
        Table(name="dimensions", columns={"layer": np.repeat(layers, num_dimensions), **single}),
        Table(
            name="histograms",
            columns={
                "layer": np.repeat(layers, len(_SIZES)),
                "lower": np.tile(_SIZES / 2, num_layers),
                "upper": np.tile(_SIZES, num_layers),
                "count": random.integers(1, 1000, num_layers * len(_SIZES)),
            },
            units={"lower": "nats/unit", "upper": "nats/unit"},
        ),
    )
    config = {"model_name": "random", "site": "mlp.out", "aggregate_by": "gradients"}
    return Results(
        config={**config, "normalize": "none", "power": None},
        data={
            f"layer_{layer}_{mode}": values[layer].astype(np.float32)
            for mode, values in arrays.items()
            for layer in layers
        },
        tables={table.name: table for table in tables},
    )


if __name__ == "__main__":
    main()
