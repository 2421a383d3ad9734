"""What a survey of layers found, in three sentences."""

from collections.abc import Sequence

from backlight.report.intervals import NORMAL_95
from backlight.runs.results import Results
from backlight.surveys.driver.words.aggregation import STATISTICS, is_signed, modes_of
from backlight.surveys.driver.words.path import along, num_nodes_of
from backlight.surveys.driver.words.ranking import Estimate, estimates, largest
from backlight.surveys.driver.words.sentences import (
    count,
    how_sure,
    name,
    number,
    text_of,
    times,
    told,
    unit,
)
from backlight.surveys.driver.words.warning import warning_sentence

_MOST_WARNED = 8  # as many as are printed
_ASKED = {
    "gradients": "The gradient of the loss at {site}, how strongly the loss reacts to it,",
    "values": "The activation at {site}",
    "grad_x_act": "Gradient times activation at {site}, to first order how much of the loss is "
    "due to it,",
    "fisher": "The square of the loss's gradient at {site}, the diagonal of the empirical Fisher "
    "matrix there,",
    "hessian_diagonal": "The second derivative of the loss at {site}, the diagonal of its Hessian "
    "there as {probes} of each passage find it,",
}
_ALONG = {
    "gradients": "The gradient of the loss at {site}, {along},",
    "grad_x_act": "How much of the loss is due to {site}, by the gradient {along} times the "
    "activation,",
}
_OWNERS = {
    "gradients": "The gradient's",
    "values": "The activation's",
    "grad_x_act": "The product's",
    "fisher": "The squared gradient's",
    "hessian_diagonal": "The second derivative's",
}


def summary(results: Results) -> Sequence[str]:
    """Describe what was asked, what was found, and how sure it is.

    Args:
        results: What was found, also if it was read back from disk.

    Returns:
        At most three sentences, and a warning where products are likely wrong as predictions.
    """
    mode = modes_of(results.config)[0]
    layers, dimension = _layers(results, mode), _dimension(results, mode)
    asked = _asked(results)
    if layers[0].value == 0 and dimension.value == 0:
        return (asked, "It is exactly zero everywhere.")
    passages = int(results.tables["layers"]["num_sequences"][0])
    if is_signed(results.config, mode):
        sure = _signed(layers, passages) + _chance(results, layers[0])
    else:
        sure = how_sure(layers[0], passages, "passage", layers[1] if len(layers) > 1 else None)
    return (asked, _found(results, layers, dimension), " ".join([sure, *_warned(results, mode)]))


def _warned(results: Results, mode: str) -> list[str]:
    """Say how many of the largest products are likely wrong as predictions."""
    if results.config["aggregate_by"] != "grad_x_act":
        return []
    shown = largest(results.tables["dimensions"], mode, _MOST_WARNED)
    return [sentence] if (sentence := warning_sentence(shown, "dimension")) else []


def _layers(results: Results, mode: str) -> list[Estimate]:
    table = largest(results.tables["layers"], mode)
    return estimates(table, mode, [f"layer {layer}" for layer in table["layer"]])


def _dimension(results: Results, mode: str) -> Estimate:
    table = largest(results.tables["dimensions"], mode, 1)
    (found,) = estimates(table, mode, [f"{table['dimension'][0]} of layer {table['layer'][0]}"])
    return found


def _asked(results: Results) -> str:
    config, table = results.config, results.tables["layers"]
    asked = _ASKED if num_nodes_of(config) is None else _ALONG
    words = {
        "site": name(config["site"]),
        "along": along(config),
        "probes": count(int(results.metadata.get("num_probes", 0)), "random probe"),
    }
    what = asked[config["aggregate_by"]].format(**words)
    text = text_of(config, int(table["num_tokens"][0]), int(table["num_sequences"][0]))
    loss = results.metadata.get("loss_nats_per_token")
    level = "" if loss is None else f"; the loss there is {loss:.3f} nats per predicted token"
    return (
        f"{what} was measured in {count(table.num_rows, 'layer')} of "
        f"{name(config['model_name'])}, over {text}{level}."
    )


def _found(results: Results, layers: Sequence[Estimate], dimension: Estimate) -> str:
    mode = modes_of(results.config)[0]
    what = f"{_OWNERS[results.config['aggregate_by']]} {STATISTICS[mode]}"
    first = f"{told(layers[0])} {unit(results.tables['layers'].units[mode])}"
    single = f"the largest single dimension is number {dimension.name} ({told(dimension)})"
    if len(layers) == 1:
        return f"{what} in {layers[0].name} is {first}; {single}."
    if is_signed(results.config, mode):
        return f"{what} is furthest from zero in {layers[0].name} ({first}); {single}."
    last = layers[-1]
    less = f", {times(layers[0].value / last.value)} less" if last.value else ""
    return (
        f"{what} is largest in {layers[0].name} ({first}) and smallest in {last.name} "
        f"({told(last)}){less}; {single}."
    )


def _signed(layers: Sequence[Estimate], num_passages: int) -> str:
    """Describe how many signed means are sure not to be zero."""
    errors = how_sure(layers[0], num_passages, "passage")
    if num_passages < 2:
        return errors
    sure = sum(each.is_sure for each in layers)
    has = "has" if sure == 1 else "have"
    return (
        f"{errors[:-1]}; {sure} of {count(len(layers), 'layer')} {has} a mean that is more than "
        f"{NORMAL_95} of its errors away from zero."
    )


def _chance(results: Results, layer: Estimate) -> str:
    """Describe how much of the error of a layer is the chance of random probes, if there are."""
    table = largest(results.tables["layers"], "mean", 1)
    if "mean_probe_se" not in table or table["mean_probe_se"][0] != table["mean_probe_se"][0]:
        return ""
    alone = number(float(table["mean_probe_se"][0]), 2)
    return f" In {layer.name} the chance of the probes alone is {alone}; more --probes lower it."
