"""Costs of replaced norms, within seeds, beside what was predicted, and what they say."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from backlight.labs.characters.curves import curve, known_mean
from backlight.labs.frame.estimates import estimate, holm, over_seeds
from backlight.labs.frame.repeating import Arrays
from backlight.labs.frame.tabulating import Block, sentences, stacked
from backlight.labs.surrogate_norms.options import SurrogateNormsConfig
from backlight.tables import Column, Table


class Condition(NamedTuple):
    """What is compared.

    Attributes:
        method: The rule by which the network learns.
        attention: What turns scores into weights.
        norm_backward: The backward of its norms.
    """

    method: str
    attention: str
    norm_backward: str

    def names(self) -> dict[str, str]:
        """Name the condition in two columns, one of them for the norms."""
        return {
            "condition": f"{self.method}, {self.attention}",
            "norm_backward": self.norm_backward,
        }


Found = Mapping[Condition, Sequence[Arrays]]
"""What each seed's training gave, by condition."""

_PREDICTIONS = ("direction_lost", "length_ratio", "gradient_angle")
_AFTERWARDS = ("own_direction_lost", "sigma")  # known only of the network that learned with it


def cost_tables(config: SurrogateNormsConfig, found: Found) -> list[Table]:
    """Tabulate what was found.

    Args:
        config: The options.
        found: What each seed's training gave.

    Returns:
        ``costs``, ``contrasts``, ``predictions``, ``curves`` and ``seeds``.
    """
    nats = dict.fromkeys(("validation_loss", "cost", "cost_low", "cost_high"), "nats")
    curves = [
        {**condition.names(), **curve(_column(trials, "losses"))}
        for condition, trials in found.items()
    ]
    return [
        stacked("costs", _costs(found), {**nats, "gradient_angle": "degrees"}),
        _contrasts(config, found),
        stacked("predictions", _predictions(config, found)),
        stacked("curves", curves, {"loss": "nats"}),
        stacked("seeds", _seeds(config, found), {"validation_loss": "nats", "cost": "nats"}),
    ]


def _column(trials: Sequence[Arrays], name: str) -> Column:
    return np.array([trial[name] for trial in trials])


def _cost(found: Found, condition: Condition) -> Column:
    """Compute what a backward costs each seed; NaN where one of the two trainings diverged."""
    true = found[condition._replace(norm_backward="true")]
    return _column(found[condition], "validation_loss") - _column(true, "validation_loss")


def _costs(found: Found) -> Iterator[Block]:
    """Average over seeds."""
    costs = {condition: _cost(found, condition) for condition in found}
    p = np.array([estimate(cost).p for cost in costs.values()])
    p[[condition.norm_backward == "true" for condition in found]] = np.nan
    for row, (condition, trials) in enumerate(found.items()):
        yield {
            **condition.names(),
            "validation_loss": known_mean(_column(trials, "validation_loss")),
            **over_seeds("cost", costs[condition]),
            "p": p[row],
            "p_holm": holm(p)[row],
            "diverged": (_column(trials, "diverged_at") >= 0).sum(),
            **{
                name: np.mean(_predicted(found, name, condition))
                for name in (*_PREDICTIONS, *_AFTERWARDS)
            },
        }


def _contrasts(config: SurrogateNormsConfig, found: Found) -> Table:
    """Compare, within seeds, what each backward costs with softmax and with sigmoid attention."""
    ran = list(product(config.methods, config.surrogates)) if len(config.attn_modes) > 1 else []
    differences = [
        _cost(found, Condition(method, "softmax", backward))
        - _cost(found, Condition(method, "sigmoid", backward))
        for method, backward in ran
    ]
    name, estimates = "softmax_less_sigmoid", [estimate(values) for values in differences]
    p = np.array([each.p for each in estimates])
    columns = {
        "method": np.array([method for method, _ in ran], dtype=np.str_),
        "norm_backward": np.array([backward for _, backward in ran], dtype=np.str_),
        **over_seeds(name, np.array(differences).reshape(len(ran), config.seeds).T),
        "p": p,
        "p_holm": holm(p),
        "seeds": np.array([each.count for each in estimates], dtype=np.int64),
    }
    return Table(name="contrasts", columns=columns, units={name: "nats"})


def _predictions(config: SurrogateNormsConfig, found: Found) -> Iterator[Block]:
    """Lay out, norm by norm, what was predicted."""
    norms = [f"h.{layer}.ln_{n}" for layer in range(config.n_layer) for n in (1, 2)] + ["ln_f"]
    names = ("direction_lost", "length_ratio", *_AFTERWARDS)
    for condition in found:
        if condition.norm_backward != "true":
            predicted = {name: _predicted(found, name, condition) for name in names}
            yield {**condition._asdict(), "norm": norms, **predicted}


def _predicted(found: Found, name: str, condition: Condition) -> Column | float:
    """Look up what is said of each norm (or matrix), the mean over seeds."""
    backward = condition.norm_backward
    if backward == "true" and name != "sigma":
        return 1.0 if name == "length_ratio" else 0.0
    column = {
        "direction_lost": f"cosine_{backward}",
        "length_ratio": f"length_{backward}",
        "gradient_angle": f"angle_{backward}",
        "own_direction_lost": f"cosine_{backward}",
        "sigma": "sigma_mean",
    }[name]
    of_true = condition._replace(norm_backward="true")
    trials = found[condition if name in _AFTERWARDS else of_true]
    rows = [trial[column] for trial in trials if column in trial]
    if not rows:
        return np.nan
    values = np.mean(rows, axis=0)
    return 1 - values if name.endswith("direction_lost") else values


def _seeds(config: SurrogateNormsConfig, found: Found) -> Iterator[Block]:
    """Lay out every training, seed by seed."""
    for row, seed in enumerate(config.all_seeds):
        for condition, trials in found.items():
            yield {
                "seed": seed,
                **condition._asdict(),
                "validation_loss": trials[row]["validation_loss"],
                "cost": _cost(found, condition)[row],
                "diverged_at": trials[row]["diverged_at"],
            }


def cost_remarks(
    config: SurrogateNormsConfig, found: Found, costs: Table, contrasts: Table
) -> list[str]:
    """Write in sentences what the numbers say.

    Args:
        config: The options.
        found: What each seed's training gave.
        costs: The table of that name.
        contrasts: The table of that name.

    Returns:
        Plain sentences.
    """
    # The question that this experiment comes from (docs/learning-rules.md).
    asked = (contrasts["norm_backward"] == "center_scale") & np.isfinite(contrasts["p"])
    return [
        _divergences(config, found),
        *sentences(
            contrasts.select(asked),
            "{method}: center_scale costs {softmax_less_sigmoid:+.4f} nats more with softmax than "
            "with sigmoid attention, 95 % interval {softmax_less_sigmoid_low:+.4f} to "
            "{softmax_less_sigmoid_high:+.4f}, p = {p:.2g}.",
        ),
        *(_ranks(costs, name) for name in (*_PREDICTIONS, *_AFTERWARDS)),
        _significance(config, costs, contrasts),
    ]


def _divergences(config: SurrogateNormsConfig, found: Found) -> str:
    diverged = [
        f"{', '.join(condition)}, seed {seed}: step {trials[row]['diverged_at']}"
        for row, seed in enumerate(config.all_seeds)
        for condition, trials in found.items()
        if trials[row]["diverged_at"] >= 0
    ]
    if not diverged:
        return "No training diverged."
    return (
        f"{len(diverged)} of {len(found) * config.seeds} trainings diverged "
        f"({'; '.join(diverged)}). Their seeds are left out of the costs."
    )


def _ranks(costs: Table, name: str) -> str:
    """Measure whether a prediction ranks the costs."""
    known = costs.select((costs["norm_backward"] != "true") & np.isfinite(costs["cost"]))
    groups = {
        condition: known.select(known["condition"] == condition)
        for condition in dict.fromkeys(costs["condition"].tolist())
    }
    ranks = {
        where: _spearman(rows[name], rows["cost"])
        for where, rows in {**groups, "all": known}.items()
    }
    listed = ", ".join(f"{rank:+.2f} ({where})" for where, rank in ranks.items())
    return f"Spearman's rank correlation of the cost with {name}: {listed}."


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    return float(cast("tuple[float, float]", spearmanr(a, b))[0])


def _significance(config: SurrogateNormsConfig, costs: Table, contrasts: Table) -> str:
    if config.seeds < 2:
        return "One seed: no intervals and no p values. Ask for several with --seeds."
    return (
        f"p is of a paired t test over {config.seeds} seeds; p_holm is corrected for the "
        f"{int(np.isfinite(costs['p']).sum())} costs and the {contrasts.num_rows} contrasts, each "
        "table for itself. Intervals are not corrected."
    )
