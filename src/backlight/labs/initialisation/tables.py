"""Tables of plain stacks and of transformers, predictions beside measurements."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.labs.frame.estimates import over_seeds
from backlight.labs.frame.tabulating import sentences, stacked
from backlight.labs.frame.trials import Arrays, Found
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
    deepest = max(config.depths)
    along = [
        {
            **kind,
            "layer": np.arange(config.depth + 1),
            **_rms(arrays, _expected_stack(config, **kind)),
        }
        for kind, arrays in stacks
    ]
    along_streams = [
        {
            **kind,
            "block": np.arange(deepest + 1),
            **_rms(arrays, expected_stream(config, **kind, depth=deepest)),
        }
        for kind, arrays in streams
    ]
    return [
        _growth(config, stacks),
        _slopes(config, streams),
        stacked("stacks", along),
        _streams(config, streams),
        stacked("stream_layers", along_streams),
    ]


def _growth(config: InitialisationConfig, stacks: Found) -> Table:
    """Fit by which factor rms change per layer, in the direction in which they travel."""
    blocks = list[dict[str, Any]]()
    for kind, arrays in stacks:
        expected = _expected_stack(config, **kind)
        for quantity in _BOTH:
            factors = [_factor(squares, quantity) for squares in arrays[quantity]]
            blocks.append(
                {
                    **kind,
                    "quantity": quantity,
                    "predicted": _factor(expected[quantity], quantity),
                    **over_seeds("measured", np.array(factors)),
                }
            )
    return stacked("growth", blocks, {"predicted": "per layer", "measured": "per layer"})


def _factor(squares: NDArray[np.float64], quantity: str) -> float:
    slope = np.polyfit(np.arange(len(squares)), np.log(squares) / 2, 1)[0]
    return float(np.exp(slope if quantity == "activation" else -slope))


def _slopes(config: InitialisationConfig, streams: Found) -> Table:
    """Fit how a stream's growth goes with the number of blocks, log-log."""
    depths, blocks = np.log(config.depths), list[dict[str, Any]]()
    for kind, arrays in streams:
        grown, back = _expected_ends(config, **kind)
        for quantity, name, predicted in (
            ("log-log slope of what the blocks add", "added", grown - START),
            ("log-log slope of the gradient's growth", "gradient_grown", back),
        ):
            slopes = np.polyfit(depths, np.log(arrays[name]).T, 1)[0]
            blocks.append(
                {
                    "quantity": quantity,
                    **kind,
                    "predicted": np.polyfit(depths, np.log(predicted), 1)[0],
                    **over_seeds("measured", slopes),
                }
            )
    return stacked("slopes", blocks)


def _streams(config: InitialisationConfig, streams: Found) -> Table:
    """Average over seeds what is left at either end of a transformer, for each depth."""
    blocks = list[dict[str, Any]]()
    for kind, arrays in streams:
        grown, back = _expected_ends(config, **kind)
        blocks.append(
            {
                **kind,
                "depth": config.depths,
                "doublings": np.log2(config.depths),
                "growth_predicted": grown / START,
                **over_seeds("growth", arrays["grown"]),
                "back_predicted": back,
                **over_seeds("back", arrays["gradient_grown"]),
            }
        )
    return stacked("streams", blocks, {"depth": "blocks"})


def _expected_stack(config: InitialisationConfig, function: str, weights: str) -> Arrays:
    std = stds(config.width, config.width)[weights]
    return expected_stack(function, std, width=config.width, depth=config.depth)


def _expected_ends(config: InitialisationConfig, weights: str) -> tuple[Column, Column]:
    """Predict mean squares behind the last block and of gradients before the first."""
    found = [expected_stream(config, weights, depth) for depth in config.depths]
    return np.array([e["activation"][-1] for e in found]), np.array(
        [e["gradient"][0] for e in found]
    )


def _rms(arrays: Arrays, expected: Arrays) -> dict[str, Column]:
    """Lay root mean squares (geometric means over seeds) beside what is expected."""
    columns = dict[str, Column]()
    for quantity in _BOTH:
        columns |= over_seeds(quantity, np.log(arrays[quantity]) / 2, unlog=True)
        columns[f"{quantity}_predicted"] = np.sqrt(expected[quantity])
    return columns


def initialisation_remarks(growth: Table, slopes: Table) -> list[str]:
    """Put into sentences what the numbers say.

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
