"""Tables of second-order quantities, which are means: squared gradients, and second derivatives."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from backlight.stats.aggregate import participation_ratio, top_share
from backlight.stats.bank import SiteResult
from backlight.stats.probes import ProbeErrors
from backlight.surveys.driver.dimensions import UNITS
from backlight.tables import Column, Table

Results = Mapping[int, SiteResult]
"""What was found, by layer."""

Noise = Mapping[int, ProbeErrors]
"""What random probes add to the errors, by layer."""

_FISHER, _HESSIAN = UNITS["fisher"], UNITS["hessian_diagonal"]


def fisher_layer_table(results: Results) -> Table:
    """Tabulate each layer's mean squared gradient, over tokens and dimensions.

    ``mean_se`` is clustered by sequence. ``mean_max`` is the largest dimension's own mean,
    ``mean_top`` that dimension, ``mean_std`` the standard deviation over dimensions.
    ``participation_ratio`` is the effective number of dimensions, ``top_share`` the share of the
    top 1 % of the dimensions.

    Args:
        results: What was found, by layer.

    Returns:
        The table, one row for each layer.
    """
    found = {
        layer: {
            **_mean_of(result),
            "max_abs": result.moments.max_abs.max(),
            "participation_ratio": participation_ratio(result.moments.mean),
            "top_share": top_share(result.moments.mean),
        }
        for layer, result in results.items()
    }
    units = dict.fromkeys(("mean", "mean_se", "mean_max", "mean_std", "max_abs"), _FISHER)
    return _by_layer(found, {**units, "participation_ratio": "dimensions"})


def fisher_dimension_table(results: Results) -> Table:
    """Tabulate each dimension's mean squared gradient over tokens, with its clustered error.

    Args:
        results: What was found, by layer.

    Returns:
        The table, one row for each dimension of each layer.
    """
    names = ("mean", "mean_se", "std", "max_abs")
    found = {
        layer: {name: getattr(result.moments, name) for name in names}
        for layer, result in results.items()
    }
    return _by_dimension(found, _FISHER)


def curvature_layer_table(results: Results, noise: Noise) -> Table:
    """Tabulate each layer's mean of the Hessian's diagonal, over tokens and dimensions.

    ``mean_se`` is clustered by sequence and holds the chance of the probes; ``mean_probe_se`` is
    that chance alone, which more probes make smaller. The sizes of single estimates are mostly
    noise, so the table has none; ``mean_max``, ``mean_top`` and ``mean_std`` are of the means of
    dimensions, noise and all.

    Args:
        results: What was found, by layer.
        noise: What the probes add to the errors, by layer.

    Returns:
        The table, one row for each layer.
    """
    found = {
        layer: {**_mean_of(result), "mean_probe_se": noise[layer].mean}
        for layer, result in results.items()
    }
    measured = ("mean", "mean_se", "mean_max", "mean_std", "mean_probe_se")
    return _by_layer(found, dict.fromkeys(measured, _HESSIAN))


def curvature_dimension_table(results: Results, noise: Noise) -> Table:
    """Tabulate each dimension's mean of the Hessian's diagonal over tokens, with its errors.

    Args:
        results: What was found, by layer.
        noise: What the probes add to the errors, by layer.

    Returns:
        The table, one row for each dimension of each layer.
    """
    found = {
        layer: {
            "mean": result.moments.mean,
            "mean_se": result.moments.mean_se,
            "mean_probe_se": noise[layer].dimensions,
        }
        for layer, result in results.items()
    }
    return _by_dimension(found, _HESSIAN)


def _mean_of(result: SiteResult) -> dict[str, float]:
    moments, summaries = result.moments, result.summaries
    sizes = np.abs(moments.mean)
    return {
        "num_tokens": moments.num_tokens,
        "num_sequences": moments.num_sequences,
        "num_dimensions": len(moments.mean),
        "mean": summaries.mean[0],
        "mean_se": summaries.mean_se[0],
        "mean_max": sizes.max(),
        "mean_top": int(sizes.argmax()),
        "mean_std": moments.mean.std(),
    }


def _by_layer(found: Mapping[int, Mapping[str, float]], units: Mapping[str, str]) -> Table:
    names = next(iter(found.values()))
    columns = {name: np.array([row[name] for row in found.values()]) for name in names}
    return Table(name="layers", columns={"layer": np.array(list(found)), **columns}, units=units)


def _by_dimension(found: Mapping[int, Mapping[str, NDArray[np.float64]]], unit: str) -> Table:
    names = next(iter(found.values()))
    widths = [len(columns["mean"]) for columns in found.values()]
    columns: dict[str, Column] = {
        "layer": np.repeat(list(found), widths),
        "dimension": np.concatenate([np.arange(width) for width in widths]),
        **{name: np.concatenate([own[name] for own in found.values()]) for name in names},
    }
    return Table(name="dimensions", columns=columns, units=dict.fromkeys(names, unit))
