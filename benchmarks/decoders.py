"""What is proven of every decoder type of Transformers, without the table of families: `make zoo`.

    python benchmarks/decoders.py [TYPE ...] [--keep]

Each type is built tiny with random numbers, discovered, proven, and held against autograd
(tests/zoo/decoders.py). `--keep` writes the table into docs/decoders.md. Without types all are
taken; a few of them take half a minute, as their kernels are written in Python.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from zoo.decoders import row, survey, table, write
from zoo.every_type import decoder_types


def main() -> None:
    """Survey the types, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("types", nargs="*")
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()  # everything is found anew
    found = []
    for name in asked.types or decoder_types():
        begun = time.perf_counter()
        found.append(survey(name))
        errors = " ".join(f"{dtype}: {error:.0e}" for dtype, error in found[-1].errors.items())
        print(f"{time.perf_counter() - begun:5.1f} s", row(found[-1]), errors, flush=True)
    print(table(found).splitlines()[0])
    if asked.keep and not asked.types:
        write(found)


if __name__ == "__main__":
    main()
