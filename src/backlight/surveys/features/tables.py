"""Tables of a survey of features: by layer, and of the features that matter most."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.data.batches import Passages
from backlight.report.intervals import NORMAL_95
from backlight.stats.aggregate import Mode, participation_ratio, top_share
from backlight.stats.first_order import WARNING_COLUMNS, WARNING_UNITS
from backlight.surveys.driver.contexts import Decode, context_table, write_contexts
from backlight.surveys.driver.dimensions import UNITS, findings_of
from backlight.surveys.driver.options.shared import Quantity
from backlight.surveys.driver.paths import completeness_arrays, completeness_tables, weight_of
from backlight.surveys.driver.relative import reason_note
from backlight.surveys.driver.results.findings import Findings, groups_file
from backlight.surveys.features.measure import FeaturesMeasurement
from backlight.surveys.features.measure.placed import PlacedDictionary, notes_of
from backlight.surveys.features.measure.results import FeatureResult, Vector, feature_result
from backlight.surveys.features.options import SaeConfig
from backlight.tables import Table

Results = Mapping[int, FeatureResult]
"""What was found, by layer."""

_NUM_RANKED = 100  # features of each layer in the table of the largest
_NEURONPEDIA = "https://www.neuronpedia.org"


def feature_layer_table(results: Results, quantity: Quantity, modes: Sequence[Mode]) -> Table:
    """Tabulate each layer's statistics, averaged over its features.

    For each mode: the average over features; ``*_se_median``, half of the features have a smaller
    standard error; ``*_max``, the largest absolute value, ``*_top`` the feature that has it,
    ``*_std`` the standard deviation over features. ``significant_share`` is the share of features
    whose mean is more than 1.96 standard errors from zero (0.05 by chance). ``sign_consistency``
    (|mean| / mean_abs) and ``top_share`` (share of mean_abs in the top 1 % of features) are known
    if mean_abs was measured. ``participation_ratio`` is the effective number of features.
    ``loss`` is the cross-entropy per predicted token, with the reconstruction in place under
    ``replace``.

    Args:
        results: What was found, by layer.
        quantity: What was looked at.
        modes: The statistics that were asked for.

    Returns:
        The table, one row for each layer.
    """
    rows = [{"layer": layer, **_layer_row(found, modes)} for layer, found in results.items()]
    ends = ("", "_se_median", "_max", "_std")
    units = {
        f"{mode}{end}": UNITS[quantity] for mode in ("mean", "mean_abs", "rms") for end in ends
    }
    units |= {"participation_ratio": "features", "loss": "nats/token"}
    return Table(
        name="layers",
        columns={name: np.array([row[name] for row in rows]) for name in rows[0]},
        units={name: unit for name, unit in units.items() if name in rows[0]},
    )


def dictionary_table(results: Results) -> Table:
    """Tabulate how well each dictionary reconstructs its site, as tried on the first batch.

    Explained variance is ``1 - sum |x - reconstruction|^2 / sum |x - mean x|^2``, without and with
    the first token of each passage; ``l0`` the mean number of features that fire at a token,
    ``dead_share`` the share of features that fired at none of these tokens.

    Args:
        results: What was found, by layer.

    Returns:
        The table, one row for each layer.
    """
    found = [each.placed for each in results.values()]
    qualities = [each.fidelity.quality for each in found]

    def quality(name: str) -> np.ndarray:
        return np.array([getattr(each, name) for each in qualities])

    measured = ("explained_variance", "explained_variance_with_first", "l0", "dead_share")
    return Table(
        name="dictionaries",
        columns={
            "layer": np.array(list(results)),
            "reads": _text([each.reads.name for each in found]),
            "writes": _text([_written(each) for each in found]),
            "format": _text([each.card.format for each in found]),
            "architecture": _text([each.card.architecture for each in found]),
            "num_features": np.array([len(each.fidelity.counts) for each in found]),
            **{name: quality(name) for name in (*measured, "num_tokens")},
            "path": _text([each.card.path for each in found]),
        },
        units={"l0": "features/token"},
    )


def top_feature_table(
    results: Results, quantity: Quantity, passages: Passages, decode: Decode
) -> Table:
    """Tabulate the features that matter most in each layer.

    Args:
        results: What was found, by layer.
        quantity: What was looked at.
        passages: The corpus.
        decode: From token ids to text.

    Returns:
        The table: ``rank_{mode}`` 1 is the largest; ``context`` is where it mattered most, with
        the token in guillemets; ``neuronpedia`` is empty where its files name no such page; what
        is known of setting features to zero stands behind the statistics.
    """
    found = list(results.values())
    names = list(found[0].statistics)
    plain = ("frequency", "decoder_norm", "num_passages", *WARNING_COLUMNS)
    units = {name: UNITS[quantity] for name in names if name not in plain}
    units |= {name: unit for name, unit in WARNING_UNITS.items() if name in names}
    first = (
        np.concatenate([getattr(each.contexts, name)[:, 0] for each in found]).tolist()
        for name in ("passages", "positions")
    )
    tokens, contexts = write_contexts(zip(*first, strict=True), passages, decode)
    return Table(
        name="top_features",
        columns={
            "layer": np.repeat(list(results), [len(each.ranked) for each in found]),
            **{
                f"rank_{mode}": np.concatenate([each.ranks[mode] for each in found])
                for mode in found[0].ranks
            },
            "feature": np.concatenate([each.ranked for each in found]),
            **{
                name: np.concatenate([each.statistics[name][each.ranked] for each in found])
                for name in names
            },
            "token": tokens,
            "context": contexts,
            "neuronpedia": _text([_link(each, int(one)) for each in found for one in each.ranked]),
        },
        units=units,
    )


def feature_token_table(
    results: Results, quantity: Quantity, passages: Passages, decode: Decode
) -> Table:
    """Tabulate the tokens where the features that matter most mattered most.

    For gradients of all tokens these are looked for among the 512 tokens of each layer with the
    longest gradients.

    Args:
        results: What was found, by layer.
        quantity: What was looked at.
        passages: The corpus.
        decode: From token ids to text.

    Returns:
        The table: ``rank`` 1 is the largest absolute value; ``context`` has the token in
        guillemets.
    """
    return context_table(
        {layer: each.contexts for layer, each in results.items()},
        passages,
        decode,
        of="feature",
        unit=UNITS[quantity],
        numbers={layer: each.ranked for layer, each in results.items()},
    )


def _layer_row(found: FeatureResult, modes: Sequence[Mode]) -> dict[str, float]:
    numbers = found.statistics
    row: dict[str, float] = {
        "num_tokens": found.num_tokens,
        "num_sequences": found.num_sequences,
        "num_dimensions": len(numbers["mean"]),
    }
    for mode in modes:
        row |= _mode_row(mode, numbers[mode], numbers["mean_se" if mode == "rms" else f"{mode}_se"])
    sure = np.abs(numbers["mean"]) > NORMAL_95 * numbers["mean_se"]
    row["significant_share"] = _average(sure[~np.isnan(numbers["mean_se"])])
    row["participation_ratio"] = participation_ratio(np.nan_to_num(numbers["rms"]) ** 2)
    if "mean_abs" in numbers:
        known = numbers["mean_abs"] > 0
        steady = np.abs(numbers["mean"][known]) / numbers["mean_abs"][known]
        row["sign_consistency"] = _average(steady)
        row["top_share"] = top_share(np.nan_to_num(numbers["mean_abs"]))
    if found.loss is not None:
        row["loss"] = found.loss
    return row


def _mode_row(mode: Mode, values: Vector, errors: Vector) -> dict[str, float]:
    known, sizes = values[~np.isnan(values)], np.nan_to_num(np.abs(values))
    errors = errors[~np.isnan(errors)]
    error = "mean_se_median" if mode == "rms" else f"{mode}_se_median"
    return {
        mode: _average(known),
        error: float(np.median(errors)) if len(errors) else float("nan"),
        f"{mode}_max": float(sizes.max()),
        f"{mode}_top": int(sizes.argmax()),
        f"{mode}_std": float(known.std()) if len(known) else float("nan"),
    }


def _average(values: NDArray[Any]) -> float:
    """Average what is known of the features; NaN if nothing is."""
    return float(values.mean()) if len(values) else float("nan")


def _link(found: FeatureResult, feature: int) -> str:
    page = found.placed.card.neuronpedia
    return f"{_NEURONPEDIA}/{page}/{feature}" if page else ""


def _written(placed: PlacedDictionary) -> str:
    """Name the site that a dictionary writes, or the first and the last of several."""
    name = placed.writes.name
    return f"{name} to {placed.beyond[-1].name}" if placed.beyond else name


def _text(words: Sequence[str]) -> np.ndarray:
    return np.array(list(words), dtype=object)


def findings(options: SaeConfig, measurement: FeaturesMeasurement) -> Findings:
    """Turn what was measured into tables and arrays.

    Args:
        options: What was asked.
        measurement: What was measured.

    Returns:
        The tables ``layers``, ``dictionaries``, ``top_features`` and ``top_tokens``, of paths also
        ``completeness``; one array for each layer and way to aggregate; every feature's mean,
        standard error, rms, frequency and decoder norm as statistics, and where tokens were encoded
        how often and how strongly it fires; with ``keep_groups`` files of sums over groups of
        passages.
    """
    corpus, placed, quantity = measurement.corpus, measurement.plan, options.aggregate_by
    by_layer = {
        each.layer: feature_result(
            measurement.state.layers[each.layer],
            each,
            modes=options.modes,
            num_ranked=_NUM_RANKED,
            weighing=options.loss_reduction,
        )
        for each in placed
    }
    decode = corpus.subject.tokenizer.decode
    completeness = measurement.state.completeness
    changes = {} if completeness is None else completeness.sites
    found = findings_of(
        options,
        corpus,
        {layer: found.statistics for layer, found in by_layer.items()},
        (
            feature_layer_table(by_layer, quantity, options.modes),
            dictionary_table(by_layer),
            top_feature_table(by_layer, quantity, corpus.passages, decode),
            feature_token_table(by_layer, quantity, corpus.passages, decode),
            *completeness_tables(
                changes, weight=weight_of(corpus, options.loss_reduction), unit="nats"
            ),
        ),
        metadata={
            "num_tokens": next(iter(by_layer.values())).num_tokens,
            **notes_of(corpus.subject, placed),
            **reason_note(measurement.state.plan.no_warning),
        },
        statistics={
            f"layer_{layer}_{name}": values
            for layer, found in by_layer.items()
            for name, values in {**found.statistics, **found.activity}.items()
        }
        | completeness_arrays(changes),
        sae_path=options.sae_path,
        splice=options.splice,
        position_stride=options.stride,
        active_only=options.active_only,
    )
    groups = {groups_file(layer): each.groups for layer, each in by_layer.items() if each.groups}
    return replace(found, files={**found.files, **groups})
