"""What a survey of prompts found, in three sentences."""

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from backlight.runs.results import Results
from backlight.surveys.driver.words.path import along
from backlight.surveys.driver.words.ranking import Estimate, estimates, largest
from backlight.surveys.driver.words.sentences import count, how_sure, name, share, told, unit
from backlight.tables import Table

_OBJECTIVES = {
    "loss": "the loss of the answer's tokens",
    "logit": "the logit of the answer's first token",
    "logit_difference": "the logit of the answer less that of the wrong one",
}


def summary(results: Results) -> Sequence[str]:
    """Describe what was asked, what was found, and how sure it is.

    Args:
        results: What was found, also if it was read back from disk.

    Returns:
        At most three sentences.
    """
    reached = reaching(results)
    order = largest(reached, "gradient_norm", 2)
    found = estimates(order, "gradient_norm", named(order))
    if not found or found[0].value == 0:
        return (_asked(results), "The gradient is exactly zero at every position.")
    sure = how_sure(found[0], int(order["num_prompts"][0]), "prompt", (*found, None)[1])
    return (_asked(results), _found(results, reached, found[0]), sure)


def reaching(results: Results) -> Table:
    """Select the positions of whole vectors from which anything can reach the objective."""
    table = results.tables["positions"]
    return table.select(np.isnan(table["head"]) & (table["num_reaching"] > 0))


def named(table: Table) -> list[str]:
    """Name the positions of a table's rows, with their sites."""
    pairs = zip(table["position"], table["site"], strict=True)
    return [f"“{name(position)}” at {name(site)}" for position, site in pairs]


def _asked(results: Results) -> str:
    config, about = results.config, results.metadata
    sites = list(dict.fromkeys(results.tables["positions"]["site"].tolist()))
    where = f" to {name(sites[-1])}" if len(sites) > 1 else ""
    return (
        f"The gradient of {_OBJECTIVES[config['objective']]}, {_how(results)}, was measured at "
        f"{name(sites[0])}{where} of {_model(results)}, over "
        f"{count(about['num_prompts'], 'prompt')} of {_origin(results)}; the loss is "
        f"{about['loss_nats_per_token']:.3f} nats per answer token, and "
        f"{share(about['share_right'])} of the greedy answers are right."
    )


def _how(results: Results) -> str:
    return along(results.config) or "how strongly it reacts to what stands at each position"


def _model(results: Results) -> str:
    config = results.config
    folder = config["experiment_dir"]
    return name(config["model_name"] if folder is None else PurePath(str(folder)).name)


def _origin(results: Results) -> str:
    config = results.config
    if config["template"] is not None:
        return f"the template “{name(config['template'])}”"
    if config["task_type"] is not None:
        return f"the task {name(config['task_type'])}"
    return name(config["fields_csv"])


def _found(results: Results, reached: Table, first: Estimate) -> str:
    symbol = unit(reached.units["gradient_norm"])
    told_first = (
        f"The gradient's norm is largest for {first.name}, {told(first)} {symbol} on average"
    )
    last_site = results.tables["positions"]["site"][-1]
    last = largest(reached.select(reached["site"] == last_site), "gradient_norm", 1)
    if not last.num_rows or first.name.endswith(f" at {name(last_site)}"):
        return f"{told_first}."
    (deepest,) = estimates(last, "gradient_norm", [f"“{name(last['position'][0])}”"])
    return f"{told_first}; at {name(last_site)} it is largest for {deepest.name} ({told(deepest)})."
