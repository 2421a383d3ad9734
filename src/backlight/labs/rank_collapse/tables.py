"""Tables of how tokens become alike, beside what is predicted, and what they say."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from backlight.labs.frame.estimates import over_seeds
from backlight.labs.frame.tabulating import sentences, stacked
from backlight.labs.frame.trials import Arrays, Found
from backlight.labs.rank_collapse.options import RankCollapseConfig
from backlight.labs.rank_collapse.stack import WITH_SKIP, branch_scale, expected_share
from backlight.tables import Column, Table

_FLOOR = 1e-28  # shares of energy below this are rounding
_ROUNDING = math.sqrt(_FLOOR)  # and ratios of norms below this


def collapse_tables(config: RankCollapseConfig, found: Found) -> list[Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        found: What the seeds of each network measured.

    Returns:
        ``slopes``, ``depths`` and ``layers``.
    """
    depths = [
        {
            **condition,
            "depth": config.depths,
            "predicted": _expected(config, **condition),
            **_geometric("share", arrays["shares"]),
            **_geometric("query_to_value", _ratios(arrays["gradients"])[..., 0], _ROUNDING),
            **_geometric("key_to_value", _ratios(arrays["gradients"])[..., 1], _ROUNDING),
        }
        for condition, arrays in found
    ]
    layers = [_layers(config, arrays, **condition) for condition, arrays in found]
    return [
        stacked("slopes", _slopes(config, found)),
        stacked("depths", depths, {"depth": "layers"}),
        stacked("layers", layers),
    ]


def _slopes(config: RankCollapseConfig, found: Found) -> list[dict[str, Any]]:
    """Lay prediction beside measurement: how rests go through one layer, and with depth."""
    depths, rows = np.array(config.depths), list[tuple[str, str, float, Column]]()
    measured = {condition["network"]: arrays for condition, arrays in found}
    for network, arrays in measured.items():
        law = 1.0 if network in WITH_SKIP else 3.0
        rows.append(("exponent of the rest through one layer", network, law, arrays["exponent"]))
    ratios = {network: _ratios(measured[network]["gradients"])[..., 0] for network in WITH_SKIP}
    shares = {network: measured[network]["shares"] for network in WITH_SKIP}
    for what, values in (("rest's share", shares), ("|dW_Q| / |dW_V|", ratios)):
        for network in WITH_SKIP:
            law = np.polyfit(depths, np.log2(_expected(config, network)), 1)[0]
            slopes = np.polyfit(depths, np.log2(values[network]).T, 1)[0]
            rows.append((f"slope of log2({what}) per layer of depth", network, law, slopes))
    return [
        {
            "quantity": quantity,
            "network": network,
            "predicted": law,
            **over_seeds("measured", values, prefix=""),
        }
        for quantity, network, law, values in rows
    ]


def _layers(config: RankCollapseConfig, arrays: Arrays, network: str) -> dict[str, Any]:
    """Follow the deepest network, layer by layer, by what each is given."""
    means, rests, depth = arrays["layer_means"], arrays["layer_rests"], max(config.depths)
    if network in WITH_SKIP:
        scale = branch_scale(network, depth)
        predicted = _shares([(layer, scale) for layer in range(depth)], config.positions)
    else:
        predicted = _cubed(means, rests, config.positions)
    return {
        "network": network,
        "layer": np.arange(depth) + 1,
        "predicted": predicted,
        **_geometric("share", (rests / (means + rests))[:, :-1]),
        **_geometric("query_to_value", _ratios(arrays["layer_gradients"])[..., 0], _ROUNDING),
    }


def _expected(config: RankCollapseConfig, network: str) -> Column:
    """Predict the share of the rest behind networks of all depths; NaN without a skip."""
    if network not in WITH_SKIP:
        return np.full(len(config.depths), np.nan)
    passed = [(depth, branch_scale(network, depth)) for depth in config.depths]
    return _shares(passed, config.positions)


def _shares(passed: Sequence[tuple[int, float]], positions: int) -> Column:
    return np.array([expected_share(n, positions=positions, scale=scale) for n, scale in passed])


def _cubed(
    means: Float[np.ndarray, "seeds layers"],
    rests: Float[np.ndarray, "seeds layers"],
    positions: int,
) -> NDArray[np.float64]:
    """Predict each share from the layer before, without a skip: r becomes r^3 / n."""
    ahead = rests[:, :-2] ** 3 / positions
    shares = ahead / (means[:, :-2] + ahead)
    first = np.full((len(means), 1), 1 - 1 / positions)  # of independent tokens
    expected = np.exp(np.log(np.maximum(np.hstack([first, shares]), _FLOOR)).mean(axis=0))
    return np.where(expected > 2 * _FLOOR, expected, np.nan)


def _ratios(gradients: Float[np.ndarray, "... 3"]) -> NDArray[np.float64]:
    """Divide the norms for queries and keys by those for values."""
    return gradients[..., :2] / gradients[..., 2:]


def _geometric(name: str, values: NDArray[np.float64], floor: float = _FLOOR) -> dict[str, Column]:
    """Average logarithms over seeds, with intervals; blank where a seed is at the floor."""
    logs = np.log(np.where(values.min(axis=0) > floor, values, np.nan))
    return over_seeds(name, logs, unlog=True)


def collapse_remarks(slopes: Table, found: Found) -> list[str]:
    """Put into sentences what the numbers say.

    Args:
        slopes: The table of that name.
        found: What the seeds of each network measured.

    Returns:
        Plain sentences.
    """
    alike = max(_ratios(arrays["of_identical_tokens"]).max() for _, arrays in found)
    return [
        *sentences(
            slopes,
            "{quantity}, {network}: predicted {predicted:.3g}, measured {measured:.3g} "
            "({low:.3g} to {high:.3g}).",
        ),
        f"Where all tokens are one, the first layer's |dW_Q| and |dW_K| are at most {alike:.1g} of "
        "its |dW_V|: zero, but for rounding.",
        "Shares below 1e-28 and ratios below 1e-14 are rounding, and are left blank.",
    ]
