"""Tables of how gradients travel back through time, bounds beside measurements."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from backlight.labs.frame.intervals import estimate
from backlight.labs.recurrence.options import RecurrenceConfig
from backlight.labs.recurrence.through_time import Case
from backlight.tables import Column, Table

_TENS = np.log(10)

EARLY = 60
"""Up to here, every lag is measured."""

Arrays = Mapping[str, NDArray[np.float64]]
"""What the seeds of a network gave, by name."""


def recurrence_tables(
    config: RecurrenceConfig, cases: Sequence[Case], found: Sequence[Arrays], lags: Column
) -> dict[str, Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        cases: The networks, the recurrent ones first.
        found: What the seeds of each gave.
        lags: Where norms were measured.

    Returns:
        ``rates``, ``bounds``, ``norms`` and ``early``, by name.
    """
    rates = _rates(cases, found, lags)
    norms = _norms(cases, found, lags, rates)
    tables = (rates, _bounds(cases, found, lags, rates), norms, _early(config, norms))
    return {table.name: table for table in tables}


def misfits(
    lags: Float[np.ndarray, " lags"], log_norms: Float[np.ndarray, " lags"]
) -> tuple[float, float]:
    """Fit exponential and power decay, and say how far each is from what is there.

    Args:
        lags: k.
        log_norms: ln of the norm at each.

    Returns:
        Root mean squares of what is left of ln norm by a line in k, and by a line in ln k.
    """
    left = [log_norms - np.polyval(np.polyfit(x, log_norms, 1), x) for x in (lags, np.log(lags))]
    return float(np.sqrt(np.mean(left[0] ** 2))), float(np.sqrt(np.mean(left[1] ** 2)))


def _rates(cases: Sequence[Case], found: Sequence[Arrays], lags: Column) -> Table:
    """Fit each network's rate, beside what is expected, and say which law fits better."""
    late, rows = lags >= lags[-1] / 2, list[dict[str, float]]()
    for arrays in found:
        logs = arrays["log_norms"]
        rate = estimate(np.array([np.polyfit(lags[late], row[late], 1)[0] for row in logs]))
        fits = np.array([misfits(lags.astype(np.float64), row) for row in logs]).mean(axis=0)
        rows.append(
            {
                "expected": arrays["expected"].mean(),
                "rate": rate.mean,
                "rate_low": rate.low,
                "rate_high": rate.high,
                "log10_norm_at_T": logs[:, -1].mean() / _TENS,
                "misfit_exponential": fits[0],
                "misfit_power": fits[1],
            }
        )
    rated: tuple[str, ...] = ("expected", "rate", "rate_low", "rate_high")
    columns = {**_names(cases), **_stack(rows)}
    return Table(name="rates", columns=columns, units=dict.fromkeys(rated, "1/step"))


def _bounds(cases: Sequence[Case], found: Sequence[Arrays], lags: Column, rates: Table) -> Table:
    """Lay the recurrent networks' rates beside Pascanu's bound."""
    recurrent, rows = [case for case in cases if case.cell is not None], list[dict[str, float]]()
    for case, arrays in zip(recurrent, found, strict=False):
        over = arrays["log_norms"] > lags * (arrays["bound"][:, None] + 1e-9)
        rows.append(
            {
                "spectral_radius": case.number,
                "s_max": np.exp(arrays["log_largest"]).mean(),
                "bound": arrays["bound"].mean(),
                "share_over_bound": over.mean(),
            }
        )
    measured = {name: rates[name][: len(recurrent)] for name in ("rate", "rate_low", "rate_high")}
    columns = {**_names(recurrent), **_stack(rows), **measured}
    units = dict.fromkeys(("bound", *measured), "1/step")
    return Table(name="bounds", columns=columns, units=units)


def _norms(cases: Sequence[Case], found: Sequence[Arrays], lags: Column, rates: Table) -> Table:
    """Lay out log10 of the norm at each lag, over seeds."""
    over_seeds = [estimate(values / _TENS) for arrays in found for values in arrays["log_norms"].T]
    return Table(
        name="norms",
        columns={
            **{name: np.repeat(column, len(lags)) for name, column in _names(cases).items()},
            "lag": np.tile(lags, len(cases)),
            "log10_norm": np.array([value.mean for value in over_seeds]),
            "low": np.array([value.low for value in over_seeds]),
            "high": np.array([value.high for value in over_seeds]),
            "expected": np.concatenate([lags * rate / _TENS for rate in rates["expected"]]),
        },
        units={"lag": "steps back"},
    )


def _early(config: RecurrenceConfig, norms: Table) -> Table:
    """Keep the first lags of the linear networks with the smallest radius."""
    linear = np.char.startswith(norms["network"].astype(np.str_), "linear")
    kept = linear & (norms["setting"] == f"radius {min(config.radii):g}") & (norms["lag"] <= EARLY)
    return Table(name="early", columns=norms.select(kept).columns, units=norms.units)


def _names(cases: Sequence[Case]) -> dict[str, Column]:
    return {
        "network": np.array([case.network for case in cases]),
        "setting": np.array([case.setting for case in cases]),
    }


def _stack(rows: Sequence[Mapping[str, float]]) -> dict[str, Column]:
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
