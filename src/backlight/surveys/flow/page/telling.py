"""Numbers in words: what a shape of the picture tells, and slopes."""

import numpy as np

from backlight.tables import Table

_CERTAINTY = "95 %"


def told(table: Table, row: int, column: str, label: str) -> str:
    """Write a number of a table with its standard error and unit.

    Args:
        table: The column, and its ``{column}_se``.
        row: Which row.
        column: Which column.
        label: What the number is.

    Returns:
        A line such as ``direct path: 0.781 ± 0.22 nats/unit``.
    """
    value, error = float(table[column][row]), float(table[f"{column}_se"][row])
    if np.isnan(value):
        return f"{label}: not known"
    reach = "" if np.isnan(error) else f" \u00b1 {error:.2g}"
    return minus(f"{label}: {value:.4g}{reach} {table.units.get(column, '')}".rstrip())


def slope_sentence(slopes: Table) -> str:
    """Say by what the norm is multiplied from layer to layer, of all positions.

    Args:
        slopes: The table of slopes; its first row is of all positions.

    Returns:
        A sentence; empty if the slope is not known.
    """
    slope, low, high = (float(slopes[name][0]) for name in ("slope", "slope_low", "slope_high"))
    if np.isnan(slope):
        return ""
    interval = ""
    if np.isfinite(low):
        interval = f" ({_CERTAINTY}: {np.exp(low):#.4g} to {np.exp(high):#.4g})"
    verb = "grows" if slope > 0 else "shrinks"
    return (
        f"Backward, towards the embedding, the norm {verb}: per layer it is multiplied by "
        f"{np.exp(slope):#.4g}{interval}."
    )


def slope_label(slopes: Table) -> str:
    """Name the fitted line by its slope."""
    slope = float(slopes["slope"][0])
    return minus(f"fit: slope {slope:+.4f} {slopes.units['slope']}")


def brief(value: float) -> str:
    """Write a number with two digits."""
    text = f"{value:.2g}"
    lead, sign, power = text.partition("e")
    if not sign:
        return minus(text)
    return f"{value:.0f}" if 0 < int(power) < 4 else minus(f"{lead}e{int(power)}")


def minus(text: str) -> str:
    """Write hyphens before digits as minus signs."""
    return text.replace("-", "\u2212")
