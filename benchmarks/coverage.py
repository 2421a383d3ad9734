"""How often the 95 % intervals that backlight prints hold the truth, and from how many passages on.

    python benchmarks/coverage.py [--replicates 4000]

Samples of passages are drawn from four known kinds of data (tests/zoo/coverage.py), the statistics
of the package are computed of each, and it is counted how often the interval holds the truth. A
coverage has the error 0.35 % with 4,000 replicates.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from zoo.coverage import KINDS, STATISTICS, coverage

NUM_PASSAGES = (4, 8, 16, 32, 64, 128, 500)
LOW, HIGH = 0.93, 0.97
WIDTH = 4  # columns that share the lengths of their passages, which are drawn, too


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=4000)
    draws = parser.parse_args().replicates // WIDTH
    begun = time.perf_counter()
    print(f"| data | interval of | {' | '.join(map(str, NUM_PASSAGES))} | 93 to 97 % from |")
    print(f"| --- | --- | {' | '.join('---' for _ in NUM_PASSAGES)} | --- |")
    for name, kind in KINDS.items():
        by_count = [coverage(kind, count, draws=draws, width=WIDTH) for count in NUM_PASSAGES]
        for statistic in STATISTICS:
            shares = [found[statistic] for found in by_count]
            cells = " | ".join(f"{100 * share:.1f}" for share in shares)
            print(f"| {name} | {statistic} | {cells} | {first(shares)} |", flush=True)
    print(f"\n{draws * WIDTH} replicates, {time.perf_counter() - begun:.0f} s.")


def first(shares: list[float]) -> str:
    """Name the number of passages from which on all coverages are within the limits."""
    held = [LOW <= share <= HIGH for share in shares]
    for place, count in enumerate(NUM_PASSAGES):
        if all(held[place:]):
            return f"{count}"
    return "not yet"


if __name__ == "__main__":
    main()
