"""Tables of gradients at the first weights and of trainings, and what they say."""

from collections.abc import Iterator

import numpy as np

from backlight.labs.characters.curves import curve
from backlight.labs.frame.estimates import over_seeds
from backlight.labs.frame.repeating import Found
from backlight.labs.frame.tabulating import Block, sentences, stacked
from backlight.labs.norm_placement.options import NormPlacementConfig
from backlight.labs.norm_placement.wide_network import Expected, wide_network
from backlight.tables import Column, Table

_LAST_SLOPES = {"pre": -0.5, "post": 0.0}  # Xiong's, log-log of depth
_AT_THE_END = 20  # steps over which the loss at the end is averaged


def placement_tables(config: NormPlacementConfig, found: Found, trainings: Found) -> list[Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        found: What each placement gave at the first weights.
        trainings: What each training gave, at each learning rate.

    Returns:
        ``slopes`` (prediction beside measurement), ``depths``, ``layers``, ``sizes``,
        ``training`` and ``curves``.
    """
    curves = [{**condition, **curve(arrays["losses"])} for condition, arrays in trainings]
    return [
        stacked("slopes", _slopes(config, found)),
        stacked("depths", _depths(config, found), {"depth": "layers"}),
        stacked("layers", _layers(config, found)),
        stacked("sizes", _sizes(config, found)),
        stacked("training", _training(trainings), {"loss_at_the_end": "nats"}),
        stacked("curves", curves, {"loss": "nats"}),
    ]


def _slopes(config: NormPlacementConfig, found: Found) -> Iterator[Block]:
    """Lay prediction beside measurement: the paper's, the wide network's, ours."""
    depth = max(config.depths)
    for condition, arrays in found:
        slopes = np.array([_slope(config, norms) for norms in arrays["last"]])
        yield {
            "quantity": "slope of the last layer, log-log of depth",
            **condition,
            "xiong": _LAST_SLOPES[condition["norm"]],
            "wide_network": _slope(config, _last_predicted(config, **condition)),
            **over_seeds("measured", slopes, prefix=""),
        }
    for condition, arrays in found:
        weights, expected = arrays["weights"], _predicted(config, depth, **condition).weights
        yield {
            "quantity": f"first layer over last, {depth} layers",
            **condition,
            "xiong": 1.0 if condition["norm"] == "pre" else (2 / 3) ** ((depth - 1) / 2),
            "wide_network": expected[0] / expected[-1],
            **over_seeds("measured", weights[:, 0] / weights[:, -1], prefix=""),
        }


def _depths(config: NormPlacementConfig, found: Found) -> Iterator[Block]:
    for condition, arrays in found:
        yield {
            **condition,
            "depth": config.depths,
            "doublings": np.log2(config.depths),
            "wide_network": _last_predicted(config, **condition),
            **over_seeds("last_layer_gradient", arrays["last"], prefix=""),
        }


def _layers(config: NormPlacementConfig, found: Found) -> Iterator[Block]:
    """Follow the deepest network; the paper's decay starts from what the last layer has."""
    layers = np.arange(1, max(config.depths) + 1)
    for condition, arrays in found:
        last = arrays["weights"][:, -1].mean()
        decay = (2 / 3) ** ((len(layers) - layers) / 2)
        yield {
            **condition,
            "layer": layers,
            "wide_network": _predicted(config, len(layers), **condition).weights,
            "xiong": last if condition["norm"] == "pre" else last * decay,
            **over_seeds("gradient", arrays["weights"], prefix=""),
        }


def _sizes(config: NormPlacementConfig, found: Found) -> Iterator[Block]:
    layers = np.arange(1, max(config.depths) + 1)
    streams = {
        "pre": ("pre, behind the layer", 1 + layers / 2, 1 + 3 * layers / 2),
        "post": ("post, before its second norm", 1.5, 1.5),
    }
    for condition, arrays in found:
        stream, low, high = streams[condition["norm"]]
        yield {
            "stream": stream,
            "layer": layers,
            "wide_network": _predicted(config, len(layers), **condition).sizes,
            "xiong_low": low,
            "xiong_high": high,
            **over_seeds("mean_square", arrays["sizes"], prefix=""),
        }


def _slope(config: NormPlacementConfig, norms: Column) -> float:
    return float(np.polyfit(np.log(config.depths), np.log(norms), 1)[0])


def _predicted(config: NormPlacementConfig, depth: int, norm: str) -> Expected:
    return wide_network(norm, depth, width=config.width, positions=config.positions)


def _last_predicted(config: NormPlacementConfig, norm: str) -> Column:
    return np.array([_predicted(config, depth, norm).weights[-1] for depth in config.depths])


def _training(trainings: Found) -> Iterator[Block]:
    """Average the losses at the end over seeds."""
    for condition, arrays in trainings:
        # The mean is NaN where a training broke off: it did not get to the end.
        ends = arrays["losses"][:, -_AT_THE_END:].mean(axis=1)
        estimates = over_seeds("loss_at_the_end", ends, prefix="")
        yield {**condition, **estimates, "broken_off": np.isnan(ends).sum()}


def placement_remarks(config: NormPlacementConfig, slopes: Table, ends: Table) -> list[str]:
    """Write in sentences what the numbers say.

    Args:
        config: The options.
        slopes: The table of that name.
        ends: The table ``training``.

    Returns:
        Plain sentences.
    """
    losses = [
        f"{kind} {loss:.2f}" if np.isfinite(loss) else f"{kind} broke off"
        for kind, loss in zip(ends["training"], ends["loss_at_the_end"], strict=True)
    ]
    size = len(losses) // len(config.learning_rates)
    return [
        *sentences(
            slopes,
            "{quantity}, {norm}-norm: Xiong et al. {xiong:.3g}, wide network {wide_network:.3g}, "
            "measured {measured:.3g} ({low:.3g} to {high:.3g}).",
        ),
        "The estimate (2/3)^((L-l)/2) counts what the norms take away and leaves out what the "
        "branches give back: behind each MLP the gradient's square grows by 1 + 1/2, which is what "
        "its norm divides by.",
        *(
            f"Training at {rate:g}, loss of the last {_AT_THE_END} steps: "
            f"{'; '.join(losses[size * row : size * (row + 1)])}."
            for row, rate in enumerate(config.learning_rates)
        ),
    ]
