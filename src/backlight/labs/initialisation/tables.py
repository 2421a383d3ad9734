"""Tables of plain stacks and of transformers, predictions beside measurements."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.labs.frame.estimates import over_seeds
from backlight.labs.frame.repeating import Arrays, Found
from backlight.labs.frame.tabulating import Block, sentences, stacked
from backlight.labs.initialisation.options import InitialisationConfig
from backlight.labs.initialisation.stacks import expected_stack, stds
from backlight.labs.initialisation.streams import START, expected_stream
from backlight.tables import Column, Table

_BOTH = ("activation", "gradient")


def initialisation_tables(
    config: InitialisationConfig, stacks: Found, streams: Found
) -> list[Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        stacks: What the seeds of each kind of plain stack gave.
        streams: What the seeds of each kind of transformer gave.

    Returns:
        ``growth``, ``slopes``, ``stacks``, ``streams`` and ``stream_layers``.
    """
    per_layer = {"predicted": "per layer", "measured": "per layer"}
    of_stack = partial(_expected_stack, config)
    of_stream = partial(expected_stream, config, depth=max(config.depths))
    return [
        stacked("growth", _growth(config, stacks), per_layer),
        stacked("slopes", _slopes(config, streams)),
        stacked("stacks", _along("layer", stacks, of_stack)),
        stacked("streams", _streams(config, streams), {"depth": "blocks"}),
        stacked("stream_layers", _along("block", streams, of_stream)),
    ]


def _growth(config: InitialisationConfig, stacks: Found) -> Iterator[Block]:
    """Fit by which factor rms change per layer, in the direction in which they travel."""
    for (kind, arrays), quantity in product(stacks, _BOTH):
        expected = _expected_stack(config, **kind)[quantity]
        factors = np.array([_factor(squares, quantity) for squares in arrays[quantity]])
        yield {
            **kind,
            "quantity": quantity,
            "predicted": _factor(expected, quantity),
            **over_seeds("measured", factors),
        }


def _factor(squares: NDArray[np.float64], quantity: str) -> float:
    slope = np.polyfit(np.arange(len(squares)), np.log(squares) / 2, 1)[0]
    return float(np.exp(slope if quantity == "activation" else -slope))


def _slopes(config: InitialisationConfig, streams: Found) -> Iterator[Block]:
    """Fit how a stream's growth goes with the number of blocks, log-log."""
    depths = np.log(config.depths)
    for kind, arrays in streams:
        grown, back = _expected_ends(config, **kind)
        for quantity, name, predicted in (
            ("log-log slope of what the blocks add", "added", grown - START),
            ("log-log slope of the gradient's growth", "gradient_grown", back),
        ):
            slopes = np.polyfit(depths, np.log(arrays[name]).T, 1)[0]
            yield {
                "quantity": quantity,
                **kind,
                "predicted": np.polyfit(depths, np.log(predicted), 1)[0],
                **over_seeds("measured", slopes),
            }


def _streams(config: InitialisationConfig, streams: Found) -> Iterator[Block]:
    """Average over seeds what is left at either end of a transformer, for each depth."""
    for kind, arrays in streams:
        grown, back = _expected_ends(config, **kind)
        yield {
            **kind,
            "depth": config.depths,
            "doublings": np.log2(config.depths),
            "growth_predicted": grown / START,
            **over_seeds("growth", arrays["grown"]),
            "back_predicted": back,
            **over_seeds("back", arrays["gradient_grown"]),
        }


def _expected_stack(config: InitialisationConfig, function: str, weights: str) -> Arrays:
    std = stds(config.width, config.width)[weights]
    return expected_stack(function, std, width=config.width, depth=config.depth)


def _expected_ends(config: InitialisationConfig, weights: str) -> tuple[Column, Column]:
    """Predict mean squares behind the last block and of gradients before the first."""
    found = [expected_stream(config, weights, depth) for depth in config.depths]
    return np.array([e["activation"][-1] for e in found]), np.array(
        [e["gradient"][0] for e in found]
    )


def _along(name: str, found: Found, expected: Callable[..., Arrays]) -> Iterator[Block]:
    """Lay root mean squares (geometric means over seeds) beside what is expected, along depth."""
    for kind, arrays in found:
        block: dict[str, Any] = {**kind, name: np.arange(arrays["activation"].shape[1])}
        for quantity in _BOTH:
            block |= over_seeds(quantity, np.log(arrays[quantity]) / 2, unlog=True)
            block[f"{quantity}_predicted"] = np.sqrt(expected(**kind)[quantity])
        yield block


def initialisation_remarks(growth: Table, slopes: Table) -> list[str]:
    """Write in sentences what the numbers say.

    Args:
        growth: The table of that name.
        slopes: The table of that name.

    Returns:
        Plain sentences.
    """
    told = (
        "predicted {predicted:.4g}, measured {measured:.4g} "
        "({measured_low:.4g} to {measured_high:.4g})."
    )
    factor = "{function}, {weights}, factor of the {quantity}'s rms per layer: "
    return [
        *sentences(growth, factor + told),
        *sentences(slopes, "Transformer, {weights}, {quantity}: " + told),
        "Left out of the prediction: the gradient's way through the scores, which counts where "
        "weights are large (he), and that a mean of logarithms is below the logarithm of the mean.",
    ]
