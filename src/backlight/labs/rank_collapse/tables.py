"""Tables of how tokens become alike, beside what is predicted, and what they say."""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from backlight.labs.frame.estimates import over_seeds
from backlight.labs.frame.repeating import Found
from backlight.labs.frame.tabulating import Block, sentences, stacked
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
    return [
        stacked("slopes", _slopes(config, found)),
        stacked("depths", _depths(config, found), {"depth": "layers"}),
        stacked("layers", _layers(config, found)),
    ]


def _slopes(config: RankCollapseConfig, found: Found) -> Iterator[Block]:
    """Lay prediction beside measurement: how rests go through one layer, and with depth."""
    depths = np.array(config.depths)
    for condition, arrays in found:
        yield {
            "quantity": "exponent of the rest through one layer",
            **condition,
            "predicted": 1.0 if condition["network"] in WITH_SKIP else 3.0,
            **over_seeds("measured", arrays["exponent"], prefix=""),
        }
    with_skip = [each for each in found if each[0]["network"] in WITH_SKIP]
    for what, (condition, arrays) in product(("rest's share", "|dW_Q| / |dW_V|"), with_skip):
        values = arrays["shares"] if "share" in what else _ratios(arrays["gradients"])[..., 0]
        yield {
            "quantity": f"slope of log2({what}) per layer of depth",
            **condition,
            "predicted": np.polyfit(depths, np.log2(_expected(config, **condition)), 1)[0],
            **over_seeds("measured", np.polyfit(depths, np.log2(values).T, 1)[0], prefix=""),
        }


def _depths(config: RankCollapseConfig, found: Found) -> Iterator[Block]:
    """Look at the last layer of each network."""
    for condition, arrays in found:
        ratios = _ratios(arrays["gradients"])
        yield {
            **condition,
            "depth": config.depths,
            "predicted": _expected(config, **condition),
            **_geometric("share", arrays["shares"]),
            **_geometric("query_to_value", ratios[..., 0], _ROUNDING),
            **_geometric("key_to_value", ratios[..., 1], _ROUNDING),
        }


def _layers(config: RankCollapseConfig, found: Found) -> Iterator[Block]:
    """Follow the deepest network, layer by layer, by what each is given."""
    depth, n = max(config.depths), config.positions
    for condition, arrays in found:
        means, rests = arrays["layer_means"], arrays["layer_rests"]
        scale = branch_scale(condition["network"], depth)
        ahead = [expected_share(layer, positions=n, scale=scale) for layer in range(depth)]
        yield {
            **condition,
            "layer": np.arange(depth) + 1,
            "predicted": ahead if condition["network"] in WITH_SKIP else _cubed(means, rests, n),
            **_geometric("share", (rests / (means + rests))[:, :-1]),
            **_geometric("query_to_value", _ratios(arrays["layer_gradients"])[..., 0], _ROUNDING),
        }


def _expected(config: RankCollapseConfig, network: str) -> Column:
    """Predict the share of the rest behind networks of all depths; NaN without a skip."""
    shares = [
        expected_share(depth, positions=config.positions, scale=branch_scale(network, depth))
        for depth in config.depths
    ]
    return np.array(shares) if network in WITH_SKIP else np.full(len(shares), np.nan)


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
    """Write in sentences what the numbers say.

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
