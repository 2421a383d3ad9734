"""Tables of a validation: every unit, agreement by kind, by size, of whole sites, and warnings."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.stats.agreement import (
    LEAST,
    STATISTICS,
    Agreement,
    Effects,
    agreement,
    separation,
    wrong,
)
from backlight.stats.first_order import LIKELY_WRONG_ABOVE, warning_index
from backlight.surveys.driver.results.findings import Findings
from backlight.surveys.validation.measure import ValidationMeasurement
from backlight.surveys.validation.measure.sample import Sample
from backlight.surveys.validation.measure.survey import Plan, Tested
from backlight.surveys.validation.measure.untested import untested
from backlight.surveys.validation.names import (
    UNKNOWN_SIZE,
    named_sizes,
    size_names,
    verdict,
)
from backlight.surveys.validation.options import ValidateConfig
from backlight.tables import Column, Table

_POOLED = "all"
_GROUPS = 3  # of layers: early, middle, late
_CALIBRATION = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, float("inf"))


def findings(options: ValidateConfig, measurement: ValidationMeasurement) -> Findings:
    """Turn what was tested into tables and arrays.

    Args:
        options: What was asked.
        measurement: What was tested.

    Returns:
        The tables ``agreement``, ``by_size``, ``sites``, ``warning`` and ``units``; as arrays what
        was predicted of each unit and ablation and what was true, passage by passage.
    """
    del options
    state, plan = measurement.state, measurement.plan
    done = slice(0, state.num_done)
    units = unit_table(plan, state)
    tables = [
        agreement_table(plan, state, units),
        size_table(plan, state, units),
        site_table(units),
        warning_table(units),
        calibration_table(units),
        units,
    ]
    sample = plan.sample
    return Findings(
        tables=tables,
        data={
            "predicted": state.predicted[done],
            "true": state.true[done],
            "sizes": state.sizes[done],
            "value": sample.value,
            "weights": sample.weights,
        },
        metadata={
            "validated": plan.command,
            "model_name": sample.subject.name,
            "kinds": list(plan.kinds),
            "ablations": list(plan.ablations),
            "num_tested": state.num_done,
            "num_planned": len(plan.units),
            "untested": [
                each.to_json()
                for each in untested(plan.layers, plan.silent, plan.units, state.num_done)
            ],
            "num_passages": len(sample.batch.passages),
            "num_tokens": sample.batch.num_tokens,
            **_counted(sample),
            "unknown_sizes": sample.reason,
            "likely_wrong_above": LIKELY_WRONG_ABOVE,
            "backward": plan.backward,
            **sample.subject.note,
        },
    )


def _counted(sample: Sample) -> dict[str, int]:
    """Say how many tokens the loss counts, where it does not count all."""
    return {} if sample.batch.counted is None else {"num_counted": sample.batch.num_predicted}


def unit_table(plan: Plan, state: Tested) -> Table:
    """Tabulate every unit that was tested, once for each ablation.

    ``index`` is its number at the site, -1 for the whole; ``position`` that of prompts, if any.
    ``predicted`` is what the gradient predicts of the objective, ``true`` what happens, both
    averaged over passages, with the standard errors of these means; ``relative_size`` how large the
    change is beside the residual stream; ``warning_index`` is ``relative_size^2 / |predicted|`` of
    setting the unit to zero; ``wrong`` says that the sign is wrong, or the prediction more than
    half of the true change off.

    Args:
        plan: What was tested.
        state: What was found.

    Returns:
        The table.
    """
    tested = plan.units[: state.num_done]
    weights = plan.sample.weights
    zero = state.zero_predicted[: state.num_done].sum(axis=1) / weights.sum()
    index = warning_index(state.zero_sizes[: state.num_done], zero)
    parts: list[dict[str, Column]] = []
    for place, ablation in enumerate(plan.ablations):
        effects = state.effects(place, weights)
        predicted, true = effects.means()
        parts.append(
            {
                "kind": np.array([unit.kind for unit in tested], dtype=np.str_),
                "layer": np.array([unit.layer for unit in tested], dtype=np.int64),
                "site": np.array([unit.site.name for unit in tested], dtype=np.str_),
                "index": np.array([unit.index for unit in tested], dtype=np.int64),
                "position": np.array([unit.called for unit in tested], dtype=np.str_),
                "chosen": np.array([unit.chosen for unit in tested], dtype=np.str_),
                "ablation": np.full(len(tested), ablation),
                "predicted": predicted,
                "predicted_se": _errors(effects.predicted, weights),
                "true": true,
                "true_se": _errors(effects.true, weights),
                "relative_size": state.sizes[: state.num_done, place],
                "warning_index": index,
                "wrong": wrong(predicted, true).astype(np.int64),
            }
        )
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    unit = _unit(plan)
    units = dict.fromkeys(("predicted", "predicted_se", "true", "true_se"), unit)
    return Table(name="units", columns=columns, units={**units, "warning_index": f"1/{unit}"})


def agreement_table(plan: Plan, state: Tested, units: Table) -> Table:
    """Tabulate how well predictions agree with what happens, by kind, ablation and depth.

    Each statistic has a 95 % interval, ``*_low`` and ``*_high``, over passages and units. ``slope``
    is of true on predicted changes; ``median_error`` the median of |predicted - true| / |true|;
    ``recall`` the share of the tenth of the units with the largest true changes that is in the
    predicted tenth, ``chance_recall`` what a random ranking has; ``pearson_least`` and
    ``pearson_most`` are the extremes if one unit is left out. ``layers`` is ``all`` or a third of
    the layers.

    Args:
        plan: What was tested.
        state: What was found.
        units: The table of units.

    Returns:
        The table, one row for each group.
    """
    rows: list[dict[str, Any]] = []
    for place, ablation in enumerate(plan.ablations):
        effects = state.effects(place, plan.sample.weights)
        own = units.select(units["ablation"] == ablation)
        for kind in plan.kinds:
            of_kind = own["kind"] == kind
            for layers, inside in _depths(own["layer"], of_kind):
                found = agreement(effects.of(inside), seed=plan.seed)
                rows.append({"kind": kind, "ablation": ablation, "layers": layers, **_row(found)})
    return _table("agreement", rows)


def size_table(plan: Plan, state: Tested, units: Table) -> Table:
    """Tabulate agreement by how large changes are beside the residual stream, all kinds together.

    Args:
        plan: What was tested.
        state: What was found.
        units: The table of units.

    Returns:
        The table: the columns of ``agreement``, and ``wrong_share``.
    """
    stacked = [state.effects(place, plan.sample.weights) for place in range(len(plan.ablations))]
    effects = Effects(
        predicted=np.concatenate([each.predicted for each in stacked]),
        true=np.concatenate([each.true for each in stacked]),
        weights=plan.sample.weights,
    )
    sizes = named_sizes(units["relative_size"])
    rows: list[dict[str, Any]] = []
    for name in (*size_names(), UNKNOWN_SIZE):
        inside = sizes == name
        if name == UNKNOWN_SIZE and not inside.any():
            continue
        found = agreement(effects.of(inside), seed=plan.seed)
        share = float(units["wrong"][inside].mean()) if inside.any() else float("nan")
        rows.append({"relative_size": name, "wrong_share": share, **_row(found)})
    return _table("by_size", rows)


def site_table(units: Table) -> Table:
    """Tabulate what happens without whole sites, with what the gradient predicts beside it.

    Args:
        units: The table of units.

    Returns:
        The table, from the first layer to the last.
    """
    own = units.select(units["kind"] == "site")
    order = np.lexsort((own["ablation"], own["site"], own["layer"]))
    names = (
        *("layer", "site", "ablation", "true", "true_se", "predicted", "predicted_se"),
        *("relative_size", "wrong"),
    )
    told = {name: own.units[name] for name in names if name in own.units}
    return Table(name="sites", columns={name: own[name][order] for name in names}, units=told)


def warning_table(units: Table) -> Table:
    """Tabulate how well the warning index tells wrong predictions from right ones.

    ``area`` is the area under the curve (AUC) of the index, of the relative size alone, and of the
    predicted change alone (small ones first); ``flagged_wrong`` and ``flagged_right`` are the
    shares of wrong and of right predictions whose index is above the threshold. Units that are
    exactly zero on both sides do not count.

    Args:
        units: The table of units.

    Returns:
        The table, by kind and for all.
    """
    # What cannot reach the objective is predicted to do nothing, and does nothing: no index is
    # needed to say so.
    units = units.select((units["predicted"] != 0) | (units["true"] != 0))
    rows: list[dict[str, Any]] = []
    for kind in [*dict.fromkeys(units["kind"].tolist()), _POOLED]:
        own = units if kind == _POOLED else units.select(units["kind"] == kind)
        is_wrong, index = own["wrong"] == 1, own["warning_index"]
        found = separation(index, is_wrong)
        flagged = index > LIKELY_WRONG_ABOVE
        rows.append(
            {
                "kind": kind,
                "num_wrong": found.num_wrong,
                "num_right": found.num_right,
                "area": found.area,
                "area_low": found.low,
                "area_high": found.high,
                "area_of_size": separation(own["relative_size"], is_wrong).area,
                "area_of_prediction": separation(-np.abs(own["predicted"]), is_wrong).area,
                "flagged_wrong": _share(flagged, is_wrong),
                "flagged_right": _share(flagged, ~is_wrong),
            }
        )
    return _table("warning", rows)


def calibration_table(units: Table) -> Table:
    """Tabulate which share of predictions is wrong, by the warning index.

    Args:
        units: The table of units.

    Returns:
        The table, one row for each range of the index.
    """
    place = np.digitize(units["warning_index"], _CALIBRATION[1:-1])
    known = ~np.isnan(units["warning_index"])
    insides = [known & (place == number) for number in range(len(_CALIBRATION) - 1)]
    return Table(
        name="calibration",
        columns={
            "index_from": np.array(_CALIBRATION[:-1]),
            "index_to": np.array(_CALIBRATION[1:]),
            "num_units": np.array([int(inside.sum()) for inside in insides]),
            "wrong_share": np.array(
                [float(units["wrong"][each].mean()) if each.any() else np.nan for each in insides]
            ),
        },
        units=dict.fromkeys(("index_from", "index_to"), units.units["warning_index"]),
    )


def _depths(
    layers: NDArray[np.int64], of_kind: NDArray[np.bool_]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Go through all layers, then early, middle and late ones, if each has enough units."""
    yield _POOLED, of_kind
    numbers = np.unique(layers[of_kind])
    if len(numbers) < _GROUPS:
        return
    for part in np.array_split(numbers, _GROUPS):
        inside = of_kind & np.isin(layers, part)
        if int(inside.sum()) >= LEAST:
            yield _span(part.tolist()), inside


def _span(layers: Sequence[int]) -> str:
    first, last = min(layers), max(layers)
    return str(first) if first == last else f"{first}-{last}"


def _row(found: Agreement) -> dict[str, Any]:
    row: dict[str, Any] = {"num_units": found.num_units}
    for name in STATISTICS:
        row[name] = found.estimates[name]
        row[f"{name}_low"], row[f"{name}_high"] = found.low[name], found.high[name]
    low = (found.low["sign_agreement"], found.low["spearman"])
    return {
        **row,
        "chance_recall": found.chance_recall,
        "pearson_least": found.pearson_least,
        "pearson_most": found.pearson_most,
        "verdict": verdict(*low, found.num_units),
    }


def _table(name: str, rows: Sequence[dict[str, Any]]) -> Table:
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return Table(name=name, columns=columns)


def _errors(by_passage: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute standard errors of ratios of sums over passages, by linearisation."""
    count, whole = len(weights), weights.sum()
    means = by_passage.sum(axis=1, keepdims=True) / whole
    squares = ((by_passage - means * weights) ** 2).sum(axis=1)
    return np.sqrt(count / (count - 1) * squares) / whole


def _share(flagged: NDArray[np.bool_], inside: NDArray[np.bool_]) -> float:
    return float(flagged[inside].mean()) if inside.any() else float("nan")


def _unit(plan: Plan) -> str:
    goal = getattr(plan.sample.objective, "goal", "loss")
    return "nats" if goal == "loss" else "logits"
