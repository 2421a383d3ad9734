"""What comparisons call things: what is compared, and what is said of it."""

from collections.abc import Mapping
from typing import Any

KINDS: Mapping[str, str] = {
    "dimension": "dimensions",
    "feature": "features",
    "head": "heads",
    "half": "paths around attention and MLP",
    "norm": "norms",
    "depth": "depths",
    "position": "positions",
}
"""Kinds of units, with what several of them are called."""

PAIRED = "paired"
UNPAIRED = "unpaired"
"""How errors of differences are known."""

HIGHER_IN_FIRST = "a"
HIGHER_IN_SECOND = "b"
NOT_SURE = ""
"""In which run a unit is surely higher."""

NUM_RANKED: Mapping[str, int] = {"crisp": 10, "saebench": 20, "dsg": 20, "gradient": 20}
"""Rankings of features, with how many of each layer they list unless another number is asked for:
the tools' own defaults (the largest of SAEBench's two, the smallest of DSG's four)."""

GRADIENT = "gradient"
"""Our own: what surely is higher in the first run, by t."""

BETWEEN = " | "
"""What stands between two contexts."""


def told_of_pairs(runs: str, about: Mapping[str, Any]) -> str:
    """Say that errors are of pairs.

    Args:
        runs: Of which runs, ``both`` or ``all``.
        about: What the comparison says of itself.

    Returns:
        Part of a sentence.
    """
    if about["compared"] == "tokens":
        return f"{runs} read the same prompts, so errors are of prompts in pairs (t)"
    return f"{runs} read the same passages, so errors are of groups of passages in pairs (t)"
