"""The table of a run's halves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.surveys.driver.results.findings import Findings
from backlight.surveys.stability.measure import Stability
from backlight.surveys.stability.measure.halves import Split
from backlight.surveys.stability.options import StabilityConfig
from backlight.tables import Table

_ENDS = (2.5, 97.5)


def findings(options: StabilityConfig, measured: Stability) -> Findings:
    """Turn the halves of a run into a table and arrays.

    Args:
        options: What was asked.
        measured: The halves.

    Returns:
        The table ``layers``, and what each split found.
    """
    return Findings(
        tables=(layer_table(measured.splits, options.agreement),),
        data=dict(_arrays(measured.splits)),
        metadata={
            "split": measured.run.command,
            "run": {**measured.material["split"], "label": measured.run.label},
            "model_name": measured.material["split"]["model_name"],
            "num_splits": options.splits,
            "agreement": options.agreement,
        },
    )


def layer_table(splits: Sequence[Split], wanted: float) -> Table:
    """Tabulate how alike random halves of a run's passages are, layer by layer.

    ``half_agreement`` is Spearman's correlation of both halves, the mean over splits, ``*_low`` and
    ``*_high`` the range of 95 % of the splits; ``half_overlap`` the share of the largest that is in
    both. ``whole_agreement`` is what two runs of as many passages as this one would have, and
    ``passages_wanted`` how many passages each would need for the agreement that is wanted (Spearman
    1910, Brown 1910: with r for n passages, k n passages give k r / (1 + (k - 1) r)).

    Args:
        splits: The halves, layer by layer.
        wanted: The agreement that is wanted.

    Returns:
        The table, one row for each kind, statistic and layer.
    """
    rows = [_row(split, wanted) for split in splits]
    return Table(
        name="layers", columns={name: np.array([row[name] for row in rows]) for name in rows[0]}
    )


def _row(split: Split, wanted: float) -> dict[str, Any]:
    kind, statistic, layer = split.key
    half = float(split.agreements.mean())
    return {
        "kind": kind,
        "statistic": statistic,
        "layer": layer,
        "num_units": split.num_units,
        "num_passages": split.num_passages,
        "num_groups": split.num_groups,
        **_spread("half_agreement", split.agreements),
        **_spread("half_overlap", split.overlaps),
        "whole_agreement": 2 * half / (1 + half) if half > 0 else float("nan"),
        "passages_wanted": _wanted(half, split.num_passages / 2, wanted),
    }


def _spread(name: str, found: NDArray[np.float64]) -> Mapping[str, float]:
    low, high = np.percentile(found, _ENDS)
    return {name: float(found.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}


def _wanted(agreement: float, num_passages: float, wanted: float) -> float:
    """Compute for how many passages two rankings would agree that well; NaN if they never do."""
    if not 0 < agreement < 1:
        return float("nan")
    times = wanted * (1 - agreement) / (agreement * (1 - wanted))
    return float(np.ceil(num_passages * times))


def _arrays(splits: Sequence[Split]) -> Mapping[str, NDArray[np.float64]]:
    found: dict[str, NDArray[np.float64]] = {}
    for split in splits:
        kind, statistic, layer = split.key
        found[f"{kind}_{statistic}_layer_{layer}_agreements"] = split.agreements
        found[f"{kind}_{statistic}_layer_{layer}_overlaps"] = split.overlaps
    return found
