"""Tables of a comparison: by layer, and of the units that differ most surely."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.runs.config import PROVENANCE
from backlight.surveys.comparison.measure import Comparison, Comparisons
from backlight.surveys.comparison.measure.comparison import Part
from backlight.surveys.comparison.measure.ranking import Ranking
from backlight.surveys.comparison.names import HIGHER_IN_FIRST, HIGHER_IN_SECOND, NOT_SURE
from backlight.surveys.comparison.options import CompareConfig
from backlight.surveys.comparison.order import surest_first
from backlight.surveys.comparison.tables.contexts import with_contexts
from backlight.surveys.comparison.tables.series import series_findings
from backlight.surveys.driver.results.findings import Findings
from backlight.tables import Column, Table

NUM_LISTED = 100
"""How many units of each layer are in the table of differences; all are in the arrays."""

_CONTRASTS = {
    "difference": "difference",
    "difference_se": "error",
    "log_ratio": "log_ratio",
    "log_ratio_se": "log_ratio_error",
    "t": "t",
    "freedom": "freedom",
    "p": "p",
    "effect_size": "effect_size",
}


def findings(options: CompareConfig, measured: Comparison | Comparisons) -> Findings:
    """Turn a comparison, or a series of them, into tables and arrays.

    Args:
        options: What was asked.
        measured: What was computed.

    Returns:
        The tables ``layers`` and ``differences``, with rankings also ``ranking`` and ``rankings``,
        and every unit's numbers as arrays.
    """
    if isinstance(measured, Comparisons):
        by_pair = [pair.parts for pair in measured.pairs]
        return series_findings(
            options,
            measured,
            layers=[layer_table(parts, options.q) for parts in by_pair],
            differences=[
                with_contexts(difference_table(pair.parts, options.q), pair.runs)
                for pair in measured.pairs
            ],
            data=[dict(arrays_of(parts)) for parts in by_pair],
        )
    parts, runs = measured.parts, measured.runs
    sure = [int((part.q <= options.q).sum()) for part in parts]
    return Findings(
        tables=(
            layer_table(parts, options.q),
            with_contexts(difference_table(parts, options.q), runs),
            *ranking_tables(measured.rankings, options.q),
        ),
        data=dict(arrays_of(parts)),
        metadata={
            "compared": runs[0].command,
            "a": _about(measured, 0),
            "b": _about(measured, 1),
            "statistics": list(measured.statistics),
            "same_passages": measured.same_passages,
            "errors": list(dict.fromkeys(part.errors for part in parts)),
            "num_compared": sum(_num_known(part) for part in parts),
            "num_sure": sum(sure),
            "q": options.q,
            "left_out": list(measured.left_out),
            "allowed": list(options.allowed),
            **({"rank_by": list(options.rankings)} if options.rankings else {}),
        },
    )


def layer_table(parts: Sequence[Part], rate: float) -> Table:
    """Tabulate each layer: how many units differ surely, and how alike the two rankings are.

    ``num_compared`` units have errors in one run at least; ``num_sure`` of them differ at the false
    discovery rate, ``num_higher_a`` and ``num_higher_b`` in which direction. ``rank_agreement`` is
    Spearman's correlation; ``overlap`` the share of the largest that is in both, ``overlap_low``
    and ``overlap_high`` its 95 % interval, ``overlap_by_noise`` what it would be if the runs
    differed by their errors alone. ``errors`` says whether passages are paired.

    Args:
        parts: The units, layer by layer.
        rate: The false discovery rate.

    Returns:
        The table, one row for each kind, statistic and layer.
    """
    rows = [_layer_row(part, rate) for part in parts]
    return Table(name="layers", columns={name: _column(rows, name) for name in rows[0]})


def difference_table(parts: Sequence[Part], rate: float) -> Table:
    """Tabulate the units of each layer that differ most surely, by q, then by the size of t.

    ``a`` and ``b`` are what the runs say, with standard errors; ``difference`` is a - b,
    ``log_ratio`` the natural logarithm of a / b; ``t`` has ``freedom`` degrees of freedom, ``p`` is
    two-sided, ``q`` the false discovery rate (Benjamini-Hochberg) among everything compared;
    ``effect_size`` is the difference in standard deviations of passages. ``higher_in`` names the
    run in which it surely is higher.

    Args:
        parts: The units, layer by layer.
        rate: The false discovery rate.

    Returns:
        The table; all units of a comparison are in its arrays.
    """
    pieces = [_listed(part, rate) for part in parts]
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return surest_first(Table(name="differences", columns=columns, units=_units(parts)))


def ranking_tables(rankings: Sequence[Ranking], rate: float) -> Iterator[Table]:
    """Tabulate features as other tools would list them, and what the lists have in common.

    ``ranking``: each list's features in their order; ``score`` is what that tool orders by,
    ``fires_a`` and ``fires_b`` the share of tokens (but for the first of each passage) at which the
    feature fires, and the rest is as in the table ``differences``. ``rankings``: of each list,
    ``num_listed`` features, how many of them surely are higher in a and in b, and how many are in
    each other list of the layer (``in_{name}``).

    Args:
        rankings: The lists, layer by layer.
        rate: The false discovery rate.

    Yields:
        The two tables; none without rankings.
    """
    if not rankings:
        return
    pieces = [_ranked(each, rate) for each in rankings]
    yield Table(
        name="ranking",
        columns={name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]},
    )
    rows = [_lists_row(each, rankings, rate) for each in rankings]
    yield Table(name="rankings", columns={name: _column(rows, name) for name in rows[0]})


def arrays_of(parts: Sequence[Part]) -> Iterator[tuple[str, NDArray[Any]]]:
    """List every unit's numbers.

    Args:
        parts: The units, layer by layer.

    Yields:
        ``{kind}_{statistic}_layer_{i}_{column}``: one number for each unit.
    """
    for part in parts:
        kind, statistic, layer = part.key
        place = f"layer_{layer}" if layer >= 0 else "all"
        for name, values in _numbers(part).items():
            yield f"{kind}_{statistic}_{place}_{name}", values


def _numbers(part: Part) -> Mapping[str, NDArray[Any]]:
    first, second = part.first.estimates, part.second.estimates
    return {
        "index": part.first.index,
        "a": first.value,
        "a_se": first.error,
        "b": second.value,
        "b_se": second.error,
        **{name: getattr(part.contrast, of) for name, of in _CONTRASTS.items()},
        "q": part.q,
    }


def _listed(part: Part, rate: float) -> dict[str, Column]:
    numbers = _numbers(part)
    kind, statistic, layer = part.key
    order = np.lexsort((-np.abs(np.nan_to_num(part.contrast.t)), np.nan_to_num(part.q, nan=2.0)))
    kept = order[:NUM_LISTED]
    count = len(kept)
    return {
        "kind": _words([kind] * count),
        "statistic": _words([statistic] * count),
        "layer": np.full(count, layer if layer >= 0 else np.nan),
        "index": numbers["index"][kept],
        "name": _words(part.first.name[kept].tolist()),
        **{name: values[kept] for name, values in numbers.items() if name != "index"},
        "higher_in": _words(
            [
                _higher(difference, q, rate)
                for difference, q in zip(part.contrast.difference[kept], part.q[kept], strict=True)
            ]
        ),
    }


def _ranked(ranking: Ranking, rate: float) -> dict[str, Column]:
    kept, compared = ranking.ranked.features, ranking.compared
    count = len(kept)
    fires = ranking.fires or (np.full(len(compared.q), np.nan),) * 2
    difference, q = compared.contrast.difference[kept], compared.q[kept]
    return {
        "ranking": _words([ranking.name] * count),
        "layer": np.full(count, compared.layer),
        "rank": np.arange(1, count + 1),
        "feature": kept,
        "score": ranking.ranked.score,
        "fires_a": fires[0][kept],
        "fires_b": fires[1][kept],
        "difference": difference,
        "t": compared.contrast.t[kept],
        "q": q,
        "higher_in": _words(
            [_higher(one, each, rate) for one, each in zip(difference, q, strict=True)]
        ),
    }


def _lists_row(ranking: Ranking, rankings: Sequence[Ranking], rate: float) -> dict[str, Any]:
    kept, compared = ranking.ranked.features, ranking.compared
    sure, difference = compared.q[kept] <= rate, compared.contrast.difference[kept]
    return {
        "ranking": ranking.name,
        "layer": compared.layer,
        "num_listed": len(kept),
        "num_higher_a": int((sure & (difference > 0)).sum()),
        "num_higher_b": int((sure & (difference < 0)).sum()),
        **{
            f"in_{each.name}": len(np.intersect1d(kept, each.ranked.features))
            for each in rankings
            if each.compared.layer == compared.layer
        },
    }


def _higher(difference: float, q: float, rate: float) -> str:
    if not q <= rate:
        return NOT_SURE
    return HIGHER_IN_FIRST if difference > 0 else HIGHER_IN_SECOND


def _layer_row(part: Part, rate: float) -> dict[str, Any]:
    kind, statistic, layer = part.key
    sure, difference = part.q <= rate, part.contrast.difference
    overlap, unknown = part.overlap, float("nan")
    return {
        "kind": kind,
        "statistic": statistic,
        "layer": layer if layer >= 0 else unknown,
        "num_units": len(part.q),
        "num_compared": _num_known(part),
        "num_sure": int(sure.sum()),
        "num_higher_a": int((sure & (difference > 0)).sum()),
        "num_higher_b": int((sure & (difference < 0)).sum()),
        "rank_agreement": part.agreement,
        "top": unknown if overlap is None else overlap.count,
        "overlap": unknown if overlap is None else overlap.share,
        "overlap_low": unknown if overlap is None else overlap.low,
        "overlap_high": unknown if overlap is None else overlap.high,
        "overlap_by_noise": unknown if overlap is None else overlap.by_noise,
        "errors": part.errors,
    }


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> Column:
    values = [row[name] for row in rows]
    return _words(values) if isinstance(values[0], str) else np.array(values)


def _words(values: Sequence[str]) -> NDArray[Any]:
    return np.array(list(values), dtype=object)


def _units(parts: Sequence[Part]) -> dict[str, str]:
    """Name the unit of what is compared, if it is one and the same."""
    units = {part.first.unit for part in parts}
    if len(units) > 1 or units == {""}:
        return {}
    (unit,) = units
    return dict.fromkeys(("a", "a_se", "b", "b_se", "difference", "difference_se"), unit)


def _num_known(part: Part) -> int:
    return int((~np.isnan(part.q)).sum())


def _about(measured: Comparison, place: int) -> dict[str, Any]:
    run = measured.runs[place]
    origin = run.config.get(PROVENANCE)
    made_of = origin if isinstance(origin, Mapping) else {}
    return {
        **measured.material["compared"]["ab"[place]],
        "label": run.label,
        "sae_path": run.config.get("sae_path"),
        **{name: made_of[name] for name in ("model", "dictionaries") if name in made_of},
    }
