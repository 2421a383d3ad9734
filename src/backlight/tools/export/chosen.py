"""Which units of a comparison are taken."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import RunDirectoryError, quoted
from backlight.runs.results import Results
from backlight.tools.export.options import ExportConfig

_Q = re.compile(r"(dimension|feature)_([a-z_]+)_layer_(\d+)_q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The units that are taken of one layer, the surest first.

    Attributes:
        kind: What they are: dimensions or features.
        statistic: What was compared.
        layer: The layer.
        indices: Their numbers.
        difference: a - b of each.
        q: The false discovery rate of each.
    """

    kind: str
    statistic: str
    layer: int
    indices: NDArray[np.int64]
    difference: NDArray[np.float64]
    q: NDArray[np.float64]


def chosen(options: ExportConfig, results: Results) -> list[Chosen]:
    """Take units of a comparison, layer by layer.

    Args:
        options: What is asked.
        results: The comparison.

    Returns:
        The units; layers in which there are none are there, and empty.

    Raises:
        RunDirectoryError: If it is no comparison of dimensions or features.
    """
    found = list(_layers(options, results.data))
    if not found:
        raise RunDirectoryError(
            f"{quoted(results.path)} is no comparison of runs of `backlight layers` or `sae`: make "
            "one with `backlight compare RUN_A RUN_B --output_dir COMPARISON`."
        )
    return found


def _layers(options: ExportConfig, data: Mapping[str, NDArray[Any]]) -> Iterator[Chosen]:
    for name in data:
        match = _Q.fullmatch(name)
        if match is None:
            continue
        before = name.removesuffix("q")
        q, difference, t = (data[before + each] for each in ("q", "difference", "t"))
        kept = np.flatnonzero((q <= options.q) & _is_of(options.side, difference))
        kept = kept[np.argsort(-np.abs(t[kept]), kind="stable")][: options.top]
        yield Chosen(
            kind=match[1],
            statistic=match[2],
            layer=int(match[3]),
            indices=data[before + "index"][kept],
            difference=difference[kept],
            q=q[kept],
        )


def _is_of(side: str, difference: NDArray[np.float64]) -> NDArray[np.bool_]:
    if side == "both":
        return np.ones(len(difference), dtype=np.bool_)
    return difference > 0 if side == "a" else difference < 0
