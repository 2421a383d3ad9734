"""Tables of the paths around and through each half of a block, and of the gradient along depth."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from backlight.decompose.depth import DepthSlope, depth_slope
from backlight.decompose.distance import NUM_BINS, distance_bins
from backlight.stats.first_order import Weighing
from backlight.stats.ratio import RatioResult
from backlight.surveys.flow.measure.residual import DepthProfile, ResidualView
from backlight.surveys.flow.tables.warning import with_warnings
from backlight.tables import Column, Table

_ROOTS = ("direct_norm", "transform_norm", "input_norm", "growth")
_UNITS: Mapping[str, str] = dict.fromkeys(("gradient_norm", "gradient_norm_se"), "nats/unit")


def residual_tables(view: ResidualView, weighing: Weighing = "sequence_mean") -> tuple[Table, ...]:
    """Tabulate the paths, and the gradient along depth.

    Args:
        view: What was measured.
        weighing: What predicted changes are averaged over.

    Returns:
        ``residual``, ``depth``, ``depth_by_position`` and ``depth_slope``.
    """
    return (
        with_warnings(_path_table(view), [view.warnings.result(weighing)]),
        _depth_table(view.depth),
        _position_table(view.depth),
        _slope_table(view.depth),
    )


def path_column(name: str) -> tuple[str, bool]:
    """Name the column of a ratio of paths, and say whether it is the root of the ratio."""
    return name, name in _ROOTS


def depth_column(name: str) -> tuple[str, bool]:
    """Name the column of a ratio of depths, and say whether it is the root of the ratio."""
    assert name == "square"
    return "gradient_norm", True


def _path_table(view: ResidualView) -> Table:
    """Tabulate the paths of each residual addition.

    Norms are root mean squares over tokens: of the direct path (the gradient behind the addition),
    of the transform path (what returns through the branch), and of the gradient at the input, their
    sum. ``growth`` is the norm at the input over that of the direct path, ``cosine`` the mean over
    tokens of the cosine between the paths, ``transform_share`` the transform path's part of the
    energies of both, ``transform_contribution`` its part of the sum: negative where it works
    against it. In a parallel block, attention and MLP apart have the block's direct path, and their
    sum with it.

    Args:
        view: What was measured.

    Returns:
        The table, one row for each addition.
    """
    found = view.ratios.result()
    numbers = {
        name: result.root() if path_column(name)[1] else result for name, result in found.items()
    }
    columns = {
        "layer": np.array([half.layer for half in view.halves]),
        "half": np.array([half.name for half in view.halves]),
        "num_sequences": numbers["direct_norm"].num_sequences,
    }
    for name, result in numbers.items():
        columns |= {name: result.ratio, f"{name}_se": result.se}
    units = [name for name in columns if name.partition("_se")[0].endswith("_norm")]
    return Table(name="residual", columns=columns, units=dict.fromkeys(units, "nats/unit"))


def _depth_table(depth: DepthProfile) -> Table:
    """Tabulate norms by depth, root mean squares over all tokens; depth 0 is the embedding."""
    result = depth.whole.result()["square"]
    return Table(name="depth", columns={**_depths(depth), **_norms(result)}, units=_UNITS)


def _position_table(depth: DepthProfile) -> Table:
    """Tabulate norms by depth for each group of positions that any token is in."""
    result, num_depths = depth.groups.result()["square"], len(depth.sites)
    seen = _seen(result, num_depths)
    columns: dict[str, Column] = {
        name: np.repeat(column[seen], num_depths) for name, column in _ranges().items()
    }
    columns |= {name: np.tile(column, int(seen.sum())) for name, column in _depths(depth).items()}
    rows = np.repeat(seen, num_depths)
    columns |= {name: column[rows] for name, column in _norms(result).items()}
    return Table(name="depth_by_position", columns=columns, units=_UNITS)


def _slope_table(depth: DepthProfile) -> Table:
    """Tabulate how fast the norm changes along depth.

    A slope is that of the logarithm of the norm per layer walked backward, from the last layer to
    the embedding: below zero the gradient vanishes, above it explodes. Its interval holds 95 % of
    the slopes of a bootstrap over sequences, and is blank where only one of them has a gradient (a
    last token has none).

    Args:
        depth: What was measured.

    Returns:
        The table: one row for all positions (blank ones), then one for each group.
    """
    whole, found = depth.whole.result()["square"], depth.groups.result()
    seen, num_depths = _seen(found["square"], len(depth.sites)), len(depth.sites)
    by_group = found["square"].ratio.reshape(NUM_BINS, num_depths)[seen]
    replicates = depth.replicates.replicates().reshape(-1, NUM_BINS, num_depths)
    drawn = np.concatenate([replicates.sum(axis=1, keepdims=True), replicates[:, seen]], axis=1)
    slopes = depth_slope(
        torch.from_numpy(np.concatenate([whole.ratio[None], by_group])).mT,
        torch.from_numpy(drawn).mT,
    )
    live = found["live"].num_sequences[::num_depths][seen]
    num_sequences = np.concatenate([whole.num_sequences[:1], live])
    ranges = {name: column[seen] for name, column in _ranges().items()}
    return Table(
        name="depth_slope",
        columns={
            **{name: np.concatenate([[np.nan], column]) for name, column in ranges.items()},
            "num_sequences": num_sequences,
            **_intervals(slopes, num_sequences),
        },
        units=dict.fromkeys(("slope", "slope_low", "slope_high"), "nats/layer"),
    )


def _depths(depth: DepthProfile) -> dict[str, Column]:
    names = [site.name for site in depth.sites]
    return {"depth": np.arange(len(names)), "site": np.array(names)}


def _seen(groups: RatioResult, num_depths: int) -> NDArray[np.bool_]:
    """Find the groups of positions that any token is in."""
    return groups.num_sequences[::num_depths] > 0


def _ranges() -> dict[str, NDArray[np.float64]]:
    """Return the first and the last position of each group; the last group is open."""
    starts = np.array(distance_bins(), dtype=np.float64)
    return {"position_first": starts, "position_last": np.append(starts[1:] - 1, np.nan)}


def _norms(result: RatioResult) -> dict[str, Column]:
    root = result.root()
    return {
        "num_sequences": root.num_sequences,
        "gradient_norm": root.ratio,
        "gradient_norm_se": root.se,
    }


def _intervals(found: DepthSlope, num_sequences: NDArray[np.int64]) -> dict[str, Column]:
    known = num_sequences >= 2
    return {
        "slope": found.slope.numpy(),
        "slope_low": np.where(known, found.low.numpy(), np.nan),
        "slope_high": np.where(known, found.high.numpy(), np.nan),
    }
