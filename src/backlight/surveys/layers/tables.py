"""Tables of a profile: by layer, by dimension, by token, and by size."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backlight.data.batches import Passages
from backlight.models.sites import Site, layer_of
from backlight.stats.aggregate import participation_ratio, top_share
from backlight.stats.bank import SiteResult
from backlight.stats.first_order import WARNING_UNITS, FirstOrderResult, Weighing, unknown
from backlight.stats.moments import MomentResult
from backlight.surveys.driver.contexts import Decode, context_table
from backlight.surveys.driver.dimensions import UNITS, findings_of
from backlight.surveys.driver.options.shared import Quantity
from backlight.surveys.driver.paths import completeness_arrays, completeness_tables, weight_of
from backlight.surveys.driver.relative import reason_note
from backlight.surveys.driver.results.findings import Findings, groups_file
from backlight.surveys.layers.measure import LayersMeasurement
from backlight.surveys.layers.measure.profile import Profile
from backlight.surveys.layers.options import LayersConfig
from backlight.surveys.layers.second_order import (
    curvature_dimension_table,
    curvature_layer_table,
    fisher_dimension_table,
    fisher_layer_table,
)
from backlight.tables import Column, Table

Results = Mapping[int, SiteResult]
"""What was found, by layer."""


def site_results(state: Profile, sites: Sequence[Site]) -> dict[int, SiteResult]:
    """Compute the statistics of each site of a layer, by the layer's number."""
    results: dict[int, SiteResult] = {}
    for site in sites:
        layer = layer_of(site.name)
        assert layer is not None, f"{site.name} belongs to no layer"
        results[layer] = state.bank.result(site.name)
    return results


Warnings = Mapping[int, FirstOrderResult]
"""By layer, how far predictions can be believed of each dimension, and last of the whole site."""

_NO_WARNINGS: Warnings = {}


def site_warnings(state: Profile, sites: Sequence[Site], weighing: Weighing) -> Warnings:
    """Compute how far first-order predictions can be believed, where a stream is known."""
    found = {layer_of(site.name): state.warnings.result(site.name, weighing) for site in sites}
    return {
        layer: result for layer, result in found.items() if layer is not None and result is not None
    }


def layer_table(results: Results, quantity: Quantity, warnings: Warnings = _NO_WARNINGS) -> Table:
    """Tabulate each layer's statistics, averaged over its dimensions, with standard errors.

    ``mean``, ``mean_abs`` and ``rms`` are averages over tokens and dimensions (``rms``: of the
    squares); their standard errors are clustered by sequence (that of ``rms`` by the delta method).
    ``*_max`` is the largest absolute value of a dimension's own statistic, ``*_top`` is that
    dimension, ``*_std`` the standard deviation over dimensions. ``norm`` is the L2 norm of a
    token's vector, averaged over tokens. ``sign_consistency`` is |mean| / mean_abs, averaged over
    dimensions: 1 if every dimension always has one sign. ``participation_ratio`` is the effective
    number of dimensions, ``top_share`` the share of mean_abs in the top 1 % of the dimensions.
    ``relative_size``, ``predicted_change``, ``warning_index`` and ``likely_wrong`` are of the whole
    site, set to zero; blank where the residual stream is not known.

    Args:
        results: What was found, by layer.
        quantity: What was looked at.
        warnings: How far predictions can be believed.

    Returns:
        The table, one row for each layer.
    """
    rows = [{"layer": layer, **_layer_row(result)} for layer, result in results.items()]
    unit = UNITS[quantity]
    plain = ("layer", "num_tokens", "num_sequences", "num_dimensions", "sign_consistency")
    counted = ("participation_ratio", "top_share", "mean_top", "mean_abs_top", "rms_top")
    return Table(
        name="layers",
        columns={
            **{name: np.array([row[name] for row in rows]) for name in rows[0]},
            **_warning_columns(results, warnings, whole=True),
        },
        units={
            **{name: unit for name in rows[0] if name not in (*plain, *counted)},
            "participation_ratio": "dimensions",
            **WARNING_UNITS,
        },
    )


def dimension_table(
    results: Results, quantity: Quantity, warnings: Warnings = _NO_WARNINGS
) -> Table:
    """Tabulate each dimension's statistics over tokens, with clustered standard errors.

    ``relative_size``, ``predicted_change``, ``warning_index`` and ``likely_wrong`` say what happens
    to first order when the dimension is set to zero; blank where the residual stream is not known.

    Args:
        results: What was found, by layer.
        quantity: What was looked at.
        warnings: How far predictions can be believed.

    Returns:
        The table, one row for each dimension of each layer.
    """
    names = ("mean", "mean_se", "mean_abs", "mean_abs_se", "rms", "std", "max_abs")
    moments = [result.moments for result in results.values()]
    widths = [len(part.mean) for part in moments]
    columns: dict[str, Column] = {
        "layer": np.repeat(list(results), widths),
        "dimension": np.concatenate([np.arange(width) for width in widths]),
        **{name: np.concatenate([getattr(part, name) for part in moments]) for name in names},
        "sign_consistency": np.concatenate([_consistency(part) for part in moments]),
        **_warning_columns(results, warnings, whole=False),
    }
    units = {**dict.fromkeys(names, UNITS[quantity]), **WARNING_UNITS}
    return Table(name="dimensions", columns=columns, units=units)


def _warning_columns(results: Results, warnings: Warnings, *, whole: bool) -> dict[str, Column]:
    """Write what is known of whole sites, or of single dimensions, layer after layer."""
    parts = [
        warnings.get(layer, unknown(len(result.moments.mean) + 1)).columns()
        for layer, result in results.items()
    ]
    kept = slice(-1, None) if whole else slice(-1)
    return {name: np.concatenate([part[name][kept] for part in parts]) for name in parts[0]}


def histogram_table(results: Results, quantity: Quantity) -> Table:
    """Tabulate how large the values of single tokens and dimensions are, in logarithmic bins.

    Args:
        results: What was found, by layer.
        quantity: What was looked at.

    Returns:
        The table, one row for each bin of each layer.
    """
    histograms = [result.histogram for result in results.values()]
    bins = [len(histogram.counts) for histogram in histograms]
    return Table(
        name="histograms",
        columns={
            "layer": np.repeat(list(results), bins),
            "lower": np.concatenate([histogram.lower for histogram in histograms]),
            "upper": np.concatenate([histogram.upper for histogram in histograms]),
            "count": np.concatenate([histogram.counts for histogram in histograms]),
        },
        units=dict.fromkeys(("lower", "upper"), UNITS[quantity]),
    )


def top_token_table(
    results: Results, quantity: Quantity, passages: Passages, decode: Decode
) -> Table:
    """Tabulate, for each dimension, the tokens at which its absolute value was largest, in context.

    Args:
        results: What was found, by layer.
        quantity: What was looked at.
        passages: The corpus.
        decode: From token ids to text.

    Returns:
        The table: ``rank`` 1 is the largest; ``context`` has the token in guillemets.
    """
    tops = {layer: result.top for layer, result in results.items()}
    return context_table(tops, passages, decode, of="dimension", unit=UNITS[quantity])


def _layer_row(result: SiteResult) -> dict[str, float]:
    moments, summaries = result.moments, result.summaries
    mean, mean_abs, mean_square, norm = summaries.mean
    mean_se, mean_abs_se, mean_square_se, norm_se = summaries.mean_se
    rms = float(np.sqrt(mean_square))
    consistency = _consistency(moments)
    known = consistency[~np.isnan(consistency)]
    row = {
        "num_tokens": moments.num_tokens,
        "num_sequences": moments.num_sequences,
        "num_dimensions": len(moments.mean),
        "mean": mean,
        "mean_se": mean_se,
        "mean_abs": mean_abs,
        "mean_abs_se": mean_abs_se,
        "rms": rms,
        "rms_se": mean_square_se / (2 * rms) if rms > 0 else float("nan"),
        "norm": norm,
        "norm_se": norm_se,
    }
    for name in ("mean", "mean_abs", "rms"):
        values: NDArray[np.float64] = getattr(moments, name)
        row[f"{name}_max"] = np.abs(values).max()
        row[f"{name}_top"] = int(np.abs(values).argmax())
        row[f"{name}_std"] = values.std()
    return {
        **row,
        "max_abs": moments.max_abs.max(),
        "sign_consistency": float(known.mean()) if len(known) else float("nan"),
        "participation_ratio": participation_ratio(moments.rms**2),
        "top_share": top_share(moments.mean_abs),
    }


def _consistency(moments: MomentResult) -> NDArray[np.float64]:
    """Compute |mean| / mean_abs; NaN for a dimension that was always exactly zero."""
    unknown = np.full_like(moments.mean, np.nan)
    return np.divide(
        np.abs(moments.mean), moments.mean_abs, out=unknown, where=moments.mean_abs > 0
    )


def findings(options: LayersConfig, measurement: LayersMeasurement) -> Findings:
    """Turn what was measured into tables and arrays.

    Args:
        options: What was asked.
        measurement: What was measured.

    Returns:
        The tables ``layers``, ``dimensions``, ``histograms`` and ``top_tokens`` (of a Hessian's
        diagonal the first two), of paths also ``completeness``; one array for each layer and way to
        aggregate; as files also sums over groups of passages.
    """
    state, corpus, sites = measurement.state, measurement.corpus, measurement.plan.sites
    by_layer = site_results(state, sites)
    metadata = {
        "loss_nats_per_token": state.loss.nats_per_token,
        "num_tokens": next(iter(by_layer.values())).moments.num_tokens,
        **reason_note(measurement.plan.no_warning),
    }
    if options.aggregate_by == "hessian_diagonal":
        metadata["num_probes"] = options.num_probes
    by_mode = {
        layer: {mode: getattr(result.moments, mode) for mode in options.modes}
        for layer, result in by_layer.items()
    }
    changes = {} if state.completeness is None else state.completeness.sites
    found = findings_of(
        options,
        corpus,
        by_mode,
        (
            *_tables(options, by_layer, measurement),
            *completeness_tables(
                changes, weight=weight_of(corpus, options.loss_reduction), unit="nats"
            ),
        ),
        metadata=metadata,
        statistics=completeness_arrays(changes),
        site=options.site,
    )
    groups = {
        groups_file(layer): state.groups.result(site.name)
        for layer, site in zip(by_layer, sites, strict=True)
    }
    return replace(found, files={**found.files, **groups})


def _tables(
    options: LayersConfig, by_layer: Results, measurement: LayersMeasurement
) -> tuple[Table, ...]:
    quantity, sites, state = options.aggregate_by, measurement.plan.sites, measurement.state
    if quantity == "hessian_diagonal":
        noise = {
            layer: state.noise.result(site.name)
            for layer, site in zip(by_layer, sites, strict=True)
        }
        return curvature_layer_table(by_layer, noise), curvature_dimension_table(by_layer, noise)
    passages, decode = measurement.corpus.passages, measurement.corpus.subject.tokenizer.decode
    rest = (
        histogram_table(by_layer, quantity),
        top_token_table(by_layer, quantity, passages, decode),
    )
    if quantity == "fisher":
        return fisher_layer_table(by_layer), fisher_dimension_table(by_layer), *rest
    warnings = site_warnings(state, sites, options.loss_reduction)
    return (
        layer_table(by_layer, quantity, warnings),
        dimension_table(by_layer, quantity, warnings),
        *rest,
    )
