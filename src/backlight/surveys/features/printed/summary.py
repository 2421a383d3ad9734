"""What a survey of features found, in three sentences."""

from collections.abc import Sequence

import numpy as np

from backlight.report.intervals import NORMAL_95
from backlight.runs.results import Results
from backlight.surveys.driver.words.aggregation import STATISTICS, modes_of
from backlight.surveys.driver.words.path import along, num_nodes_of
from backlight.surveys.driver.words.ranking import Estimate, estimates, largest
from backlight.surveys.driver.words.sentences import how_sure, name, share, text_of, told, unit
from backlight.surveys.driver.words.warning import warning_sentence
from backlight.tables import Table

_MOST_WARNED = 12  # as many as are printed
_ASKED = {
    "gradients": "The gradient of the loss by {features}, how strongly the loss reacts to them,",
    "values": "How strongly {features} fires",
    "grad_x_act": "Gradient times activation of {features}, to first order how much of the loss "
    "is due to each,",
}
_ALONG = {
    "gradients": "The gradient of the loss by {features}, {along},",
    "grad_x_act": "How much of the loss is due to {features}, by the gradient {along} times the "
    "activation,",
}
_FOUND = {"gradients": "gradient", "values": "activation", "grad_x_act": "product"}
_NOTHING = {
    False: "Not one feature fired at these tokens.",
    True: "It is exactly zero for every feature.",
}


def summary(results: Results) -> Sequence[str]:
    """Describe what was asked, what was found, and how sure it is.

    Args:
        results: What was found, also if it was read back from disk.

    Returns:
        Three paragraphs at most; the last one is of how sure all this is.
    """
    features = _features(results)
    if not features or features[0].value == 0:
        return (_asked(results), _NOTHING[bool(features)])
    sure = " ".join(filter(None, [_sure(results, features), _warned(results)]))
    return (_asked(results), _found(results, features[0]), sure)


def _warned(results: Results) -> str:
    """Say how many of the largest products are likely wrong as predictions."""
    if results.config["aggregate_by"] != "grad_x_act":
        return ""
    mode = modes_of(results.config)[0]
    shown = largest(results.tables["top_features"], mode, _MOST_WARNED)
    return warning_sentence(shown, "feature")


def named(table: Table) -> list[str]:
    """Name the features of a table's rows, with their layers."""
    pairs = zip(table["feature"], table["layer"], strict=True)
    return [f"feature {feature} of layer {layer}" for feature, layer in pairs]


def _features(results: Results) -> list[Estimate]:
    mode = modes_of(results.config)[0]
    table = largest(results.tables["top_features"], mode, 2)
    return estimates(table, mode, named(table))


def _asked(results: Results) -> str:
    config, layers = results.config, results.tables["layers"]
    many = layers.num_rows > 1
    features = f"each of the {layers['num_dimensions'].sum():,} features of "
    features += f"{layers.num_rows} dictionaries" if many else "a dictionary"
    asked = _ASKED if num_nodes_of(config) is None else _ALONG
    grows = "reconstruction" if config["splice"] == "replace" else "site"
    what = asked[config["aggregate_by"]].format(features=features, along=along(config, what=grows))
    stride = config["position_stride"] or (4 if config["splice"] == "replace" else 1)
    text = text_of(
        config, int(layers["num_tokens"][0]), int(layers["num_sequences"][0]), stride=stride
    )
    return (
        f"{what} was measured at {_sites(results)} of {name(config['model_name'])}, over {text}; "
        f"{'the dictionaries explain' if many else 'the dictionary explains'} "
        f"{_explained(results)} of the variance there."
    )


def _sites(results: Results) -> str:
    sites = results.tables["dictionaries"]["writes"].tolist()
    # A layer of a cross-layer transcoder has two names in its row, of the first site and the last.
    first, last = sites[0].split(" to ")[0], sites[-1].split(" to ")[-1]
    return name(first) + (f" to {name(last)}" if last != first else "")


def _explained(results: Results) -> str:
    found = results.tables["dictionaries"]["explained_variance"]
    least, most = share(found.min()), share(found.max())
    return least if least == most else f"{least} to {most}"


def _found(results: Results, feature: Estimate) -> str:
    config, mode = results.config, modes_of(results.config)[0]
    (frequency,) = largest(results.tables["top_features"], mode, 1)["frequency"]
    where = " over the tokens where it fires" if config["active_only"] else ""
    symbol = unit(results.tables["layers"].units[mode])
    return (
        f"The {_FOUND[config['aggregate_by']]} is largest for {feature.name}, with a "
        f"{STATISTICS[mode]}{where} of {told(feature)} {symbol}; it fires at {share(frequency)} "
        "of the tokens."
    )


def _sure(results: Results, features: Sequence[Estimate]) -> str:
    table, mode = results.tables["layers"], modes_of(results.config)[0]
    passages = int(table["num_sequences"][0])
    second = features[1] if len(features) > 1 else None
    order = how_sure(features[0], passages, "passage", second)
    known = float(np.average(table["significant_share"], weights=table["num_dimensions"]))
    if passages < 2 or known != known or results.config["aggregate_by"] == "values":
        return order
    meaning = (
        f"{share(known)} of all features have a mean that is more than {NORMAL_95} standard errors "
        "from zero, and 5 % would by chance alone."
    )
    return meaning if mode == "rms" else f"{order.removesuffix('.')}; {meaning}"
