"""What a survey of the gradient's flow found, in three sentences."""

import math
from collections.abc import Sequence

import numpy as np

from backlight.runs.results import Results
from backlight.surveys.driver.words.ranking import estimates, largest
from backlight.surveys.driver.words.sentences import name, share, text_of, told, unit
from backlight.tables import Table


def summary(results: Results) -> Sequence[str]:
    """Describe what was asked, what was found, and how sure it is.

    Args:
        results: What was found, also if it was read back from disk.

    Returns:
        At most three sentences.
    """
    tables = results.tables
    sentences = [_asked(results)]
    if "depth" in tables:
        sentences.append(_depth(tables["depth"], tables["depth_slope"]))
    found = [
        tell(tables[view])
        for view, tell in (("residual", _residual), ("norms", _norms), ("attention", _attention))
        if view in tables
    ]
    parts = "; ".join(filter(None, found))
    return [*sentences, f"{parts[0].upper()}{parts[1:]}."] if parts else sentences


def _asked(results: Results) -> str:
    config, about = results.config, results.metadata
    layers = name(config["layers"])
    which = "every layer" if layers == "all" else f"layers {layers}"
    text = text_of(config, about["num_tokens"], about["num_passages"])
    sure = "± is one standard error, from how the passages differ"
    if about["num_passages"] < 2:
        sure = "how sure the numbers are cannot be said of only one passage"
    return (
        f"What happens to the gradient of the loss on its way back through {which} of "
        f"{name(config['model_name'])} was measured over {text}; the loss there is "
        f"{about['loss_nats_per_token']:.3f} nats per predicted token, and {sure}."
    )


def _depth(depth: Table, slopes: Table) -> str:
    ends = estimates(depth, "gradient_norm", depth["site"].tolist())
    start, end = ends[-1], ends[0]
    if start.value == 0 or end.value == 0:
        return "The gradient is exactly zero at one end of its way."
    grows = "grows" if end.value > start.value else "shrinks"
    low, slope, high = (
        f"{100 * math.expm1(slopes[column][0]):+.1f}"
        for column in ("slope_low", "slope", "slope_high")
    )
    interval = "" if math.isnan(slopes["slope_low"][0]) else f" (95 %: {low} to {high} %)"
    return (
        f"From the last layer back to the embedding the gradient {grows} from {told(start)} to "
        f"{told(end)} {unit(depth.units['gradient_norm'])}; a line fitted to its logarithm says "
        f"{slope} % per layer{interval}."
    )


def _residual(table: Table) -> str:
    first = largest(table, "transform_share", 1)
    if not first["transform_share"][0] > 0:
        return ""
    part = share(first["transform_share"][0], first["transform_share_se"][0])
    return (
        f"among the branches, the {half_name(first, 0)} carries the largest share of the "
        f"gradient's energy there ({part}, the rest goes around it)"
    )


def _norms(table: Table) -> str:
    first = largest(table, "r_radial", 1)
    if not first["r_radial"][0] >= 0:
        return ""
    part = share(first["r_radial"][0], first["r_radial_se"][0])
    chance = share(first["r_radial_chance"][0])
    return (
        f"among the norms, {norm_name(first, 0)} takes out the most by scaling ({part}, by chance "
        f"{chance})"
    )


def _attention(table: Table) -> str:
    shares = table["query_key_share"]
    known = shares[np.isfinite(shares)]
    if not len(known):
        return ""
    part = share(float(known.mean()))
    return f"in attention, queries and keys carry {part} of the energy in the mean over heads"


def half_name(table: Table, row: int) -> str:
    """Name half of a block, such as ``MLP of layer 3``."""
    half = str(table["half"][row])
    return f"{'MLP' if half == 'mlp' else half} of layer {table['layer'][row]}"


def norm_name(table: Table, row: int) -> str:
    """Name a norm, such as ``norm1 of layer 3``."""
    layer, head = table["layer"][row], table["head"][row]
    which = "" if math.isnan(layer) else f" of layer {int(layer)}"
    of_head = "" if math.isnan(head) else f", head {int(head)}"
    return f"{table['norm'][row]}{which}{of_head}"


def head_name(table: Table, row: int) -> str:
    """Name a head, such as ``head 5 of layer 3``."""
    return f"head {int(table['head'][row])} of layer {int(table['layer'][row])}"
