"""The table of what each norm does to the gradient, with what chance would give."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from backlight.decompose.surrogates import (
    SURROGATES,
    ChanceLevels,
    norm_chance,
)
from backlight.models.norms import NormPlace
from backlight.stats.ratio import RatioResult
from backlight.surveys.flow.measure.norms import NormView
from backlight.tables import Table


def norm_tables(view: NormView) -> tuple[Table]:
    """Tabulate the norms, one row for each (for each head, where heads are normalised apart).

    ``r_mean`` and ``r_radial`` are shares of the energy of u = gain * gradient that centring and
    scaling take out: ratios of means over tokens; ``token_r_*`` are means of the tokens' own
    shares. ``sigma`` is what the norm divides by. ``gradient_norm`` is the root mean square over
    tokens of the gradient at the norm's input. ``*_cosine`` is each surrogate's cosine with that
    gradient, averaged over tokens; ``*_norm_ratio`` its root mean square length over the
    gradient's. ``*_chance`` is what a gradient would give that has nothing to do with the norm's
    input.

    Args:
        view: What was measured.

    Returns:
        ``norms``; ``layer`` is blank for the final norm, ``head`` where there is one row.
    """
    found = view.ratios.result()
    heads = [(place, head) for place in view.places for head in range(place.num_heads or 1)]
    rows = [
        {**_names(place, head), **_gain(place, head), **_measured(place, found, row)}
        for row, (place, head) in enumerate(heads)
    ]
    table = Table(
        name="norms",
        columns={name: np.array([row[name] for row in rows]) for name in rows[0]},
        units=dict.fromkeys(("gradient_norm", "gradient_norm_se"), "nats/unit"),
    )
    return (table,)


def norm_column(name: str) -> tuple[str, bool]:
    """Name the column of a ratio of norms, and say whether it is the root of the ratio."""
    if name == "input_square":
        return "gradient_norm", True
    is_root = name.endswith("_square")
    return f"{name.removesuffix('_square')}_norm_ratio" if is_root else name, is_root


def _names(place: NormPlace, head: int) -> dict[str, Any]:
    return {
        "layer": np.nan if place.layer is None else place.layer,
        "norm": place.name,
        "head": np.nan if place.num_heads is None else head,
        "kind": "layer" if place.is_centred else "rms",
        "width": place.width,
    }


def _gain(place: NormPlace, head: int) -> dict[str, float]:
    if place.gain is None:
        return {"gain_mean": 1.0, "gain_std": 0.0, "gain_max": 1.0}
    gain = place.gain.double()
    own = gain[head] if gain.ndim > 1 else gain
    return {
        "gain_mean": own.mean().item(),
        "gain_std": own.std(correction=0).item(),
        "gain_max": own.abs().max().item(),
    }


def _measured(place: NormPlace, found: Mapping[str, RatioResult], row: int) -> dict[str, float]:
    roots = {name: result.root() for name, result in found.items() if name.endswith("_square")}
    sigma = {name: float(found[name].ratio[row]) for name in ("sigma", "sigma_square")}
    chance = _chance(place, roots, row)
    numbers = {"num_sequences": int(found["sigma"].num_sequences[row])}
    for name in ("r_mean", "r_radial"):
        numbers |= _with_error(name, found[name], row)
        numbers |= _with_error(f"token_{name}", found[f"token_{name}"], row)
        numbers[f"{name}_chance"] = getattr(chance, name)
    numbers |= _with_error("sigma", found["sigma"], row)
    numbers["sigma_std"] = max(sigma["sigma_square"] - sigma["sigma"] ** 2, 0.0) ** 0.5
    numbers |= _with_error("gradient_norm", roots["input_square"], row)
    for name in SURROGATES:
        numbers |= _with_error(f"{name}_cosine", found[f"{name}_cosine"], row)
        numbers[f"{name}_cosine_chance"] = chance.cosine[name]
        numbers |= _with_error(f"{name}_norm_ratio", roots[f"{name}_square"], row)
        numbers[f"{name}_norm_ratio_chance"] = chance.norm_ratio[name]
    return numbers


def _chance(place: NormPlace, roots: Mapping[str, RatioResult], row: int) -> ChanceLevels:
    # Tokens are divided by different sigmas; the one that counts is weighed by their gradients.
    sigma = float(roots["identity_square"].ratio[row] / roots["scale_square"].ratio[row])
    return norm_chance(place.width, is_centred=place.is_centred, sigma=sigma)


def _with_error(name: str, result: RatioResult, row: int) -> dict[str, float]:
    return {name: float(result.ratio[row]), f"{name}_se": float(result.se[row])}
