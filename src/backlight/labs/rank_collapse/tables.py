"""Tables of how tokens become alike, beside what is predicted, and what they say."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from backlight.labs.frame.estimates import over_seeds
from backlight.labs.frame.tabulating import sentences, stacked
from backlight.labs.frame.trials import Arrays
from backlight.labs.rank_collapse.options import RankCollapseConfig
from backlight.labs.rank_collapse.stack import KINDS, WITH_SKIP, branch_scale, expected_share
from backlight.tables import Column, Table

Found = Mapping[str, Arrays]
"""What the seeds of each kind of network gave."""

_FLOOR = 1e-28  # shares of energy below this are rounding
_ROUNDING = math.sqrt(_FLOOR)  # and ratios of norms below this


def collapse_tables(config: RankCollapseConfig, found: Found) -> list[Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        found: What the seeds of each kind of network gave.

    Returns:
        ``slopes``, ``depths`` and ``layers``.
    """
    depths = [
        {
            "network": kind,
            "depth": config.depths,
            "predicted": _expected(config, kind) if kind in WITH_SKIP else np.nan,
            **_geometric("share", arrays["shares"]),
            **_geometric("query_to_value", _ratios(arrays["gradients"])[..., 0], _ROUNDING),
            **_geometric("key_to_value", _ratios(arrays["gradients"])[..., 1], _ROUNDING),
        }
        for kind, arrays in found.items()
    ]
    layers = [_layers(config, kind, arrays) for kind, arrays in found.items()]
    return [
        _slopes(config, found),
        stacked("depths", depths, {"depth": "layers"}),
        stacked("layers", layers),
    ]


def _slopes(config: RankCollapseConfig, found: Found) -> Table:
    """Lay prediction beside measurement."""
    depths, rows = np.array(config.depths), list[tuple[str, str, float, NDArray[np.float64]]]()
    for kind, law in zip(KINDS, (3.0, 3.0, 1.0, 1.0), strict=True):
        rows.append(("exponent of the rest through one layer", kind, law, found[kind]["exponent"]))
    shares = {kind: arrays["shares"] for kind, arrays in found.items()}
    ratios = {kind: _ratios(arrays["gradients"])[..., 0] for kind, arrays in found.items()}
    for what, measured in (
        ("slope of log2(rest's share) per layer of depth", shares),
        ("slope of log2(|dW_Q| / |dW_V|) per layer of depth", ratios),
    ):
        for kind in WITH_SKIP:
            law = np.polyfit(depths, np.log2(_expected(config, kind)), 1)[0]
            slopes = np.polyfit(depths, np.log2(measured[kind]).T, 1)[0]
            rows.append((what, kind, law, slopes))
    return stacked(
        "slopes",
        [
            {
                "quantity": quantity,
                "network": kind,
                "predicted": law,
                **over_seeds("measured", measured, prefix=""),
            }
            for quantity, kind, law, measured in rows
        ],
    )


def _layers(config: RankCollapseConfig, kind: str, arrays: Arrays) -> dict[str, Any]:
    """Follow the deepest network, layer by layer, by what each is given."""
    means, rests, depth = arrays["layer_means"], arrays["layer_rests"], max(config.depths)
    if kind in WITH_SKIP:
        predicted = _expected_layers(config, kind, depth)
    else:
        predicted = _cubed(means, rests, config.positions)
    return {
        "network": kind,
        "layer": np.arange(depth) + 1,
        "predicted": predicted,
        **_geometric("share", (rests / (means + rests))[:, :-1]),
        **_geometric("query_to_value", _ratios(arrays["layer_gradients"])[..., 0], _ROUNDING),
    }


def _expected(config: RankCollapseConfig, kind: str) -> Column:
    """Predict the share of the rest behind each network with skip connections."""
    shares = [
        expected_share(depth, positions=config.positions, scale=branch_scale(kind, depth))
        for depth in config.depths
    ]
    return np.array(shares)


def _expected_layers(config: RankCollapseConfig, kind: str, depth: int) -> Column:
    """Predict the share of the rest that each layer of one network is given."""
    scale = branch_scale(kind, depth)
    shares = [
        expected_share(layer, positions=config.positions, scale=scale) for layer in range(depth)
    ]
    return np.array(shares)


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
        found: What the seeds of each kind of network gave.

    Returns:
        Plain sentences.
    """
    alike = max(_ratios(arrays["of_identical_tokens"]).max() for arrays in found.values())
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
