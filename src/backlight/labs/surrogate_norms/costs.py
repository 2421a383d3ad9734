"""What trainings with replaced norms add up to: costs within seeds, beside what was predicted."""

from collections.abc import Mapping
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backlight.labs.characters.curves import curve, known_mean
from backlight.labs.frame.intervals import estimate, estimate_columns, holm
from backlight.labs.surrogate_norms.options import SurrogateNormsConfig
from backlight.tables import Table

Found: TypeAlias = Mapping[tuple[int, str, str, str], Mapping[str, NDArray[Any]]]
"""What each training gave, by seed, rule, attention and backward."""

PREDICTIONS = ("direction_lost", "length_ratio", "gradient_angle")
AFTERWARDS = ("own_direction_lost", "sigma")  # known only of the network that learned with it
_NATS = dict.fromkeys(("validation_loss", "cost", "cost_low", "cost_high"), "nats")


def cost_tables(config: SurrogateNormsConfig, found: Found) -> dict[str, Table]:
    """Lay out what was found.

    Args:
        config: The options.
        found: What each training gave.

    Returns:
        ``costs``, ``contrasts``, ``predictions``, ``curves`` and ``seeds``, by name.
    """
    tables = (
        _costs(config, found),
        _contrasts(config, found),
        _predictions(config, found),
        _curves(config, found),
        _seeds(found),
    )
    return {table.name: table for table in tables}


def _cost(config: SurrogateNormsConfig, found: Found, *words: str) -> NDArray[np.float64]:
    """Give what a backward costs, for each seed; NaN where one of the two trainings diverged."""
    method, attention, backward = words

    def loss(seed: int, name: str) -> float:
        return float(found[seed, method, attention, name]["validation_loss"])

    return np.array([loss(seed, backward) - loss(seed, "true") for seed in config.all_seeds])


def _costs(config: SurrogateNormsConfig, found: Found) -> Table:
    """Average over seeds."""
    backwards = ("true", *config.surrogates)
    ran = list(product(config.methods, config.attn_modes, backwards))
    estimates = [estimate(_cost(config, found, *words)) for words in ran]
    trials = [[found[(seed, *words)] for seed in config.all_seeds] for words in ran]
    losses = [known_mean(np.array([t["validation_loss"] for t in of])) for of in trials]
    is_true = np.array([backward == "true" for _, _, backward in ran])
    p = np.where(is_true, np.nan, [one.p for one in estimates])
    return Table(
        name="costs",
        columns={
            "condition": np.array([f"{method}, {attention}" for method, attention, _ in ran]),
            "norm_backward": np.array([backward for _, _, backward in ran]),
            "validation_loss": np.array(losses),
            **estimate_columns("cost", estimates),
            "p": p,
            "p_holm": holm(p),
            "diverged": np.array([sum(int(t["diverged_at"]) >= 0 for t in of) for of in trials]),
            **{
                name: np.array([_predicted(config, found, name, *words).mean() for words in ran])
                for name in (*PREDICTIONS, *AFTERWARDS)
            },
        },
        units={**_NATS, "gradient_angle": "degrees"},
    )


def _contrasts(config: SurrogateNormsConfig, found: Found) -> Table:
    """Compare, within seeds, what each backward costs with softmax and with sigmoid attention."""
    ran = list(product(config.methods, config.surrogates)) if len(config.attn_modes) > 1 else []
    estimates = [
        estimate(
            _cost(config, found, method, "softmax", backward)
            - _cost(config, found, method, "sigmoid", backward)
        )
        for method, backward in ran
    ]
    p = np.array([one.p for one in estimates])
    return Table(
        name="contrasts",
        columns={
            "method": np.array([method for method, _ in ran], dtype=np.str_),
            "norm_backward": np.array([backward for _, backward in ran], dtype=np.str_),
            **estimate_columns("softmax_less_sigmoid", estimates),
            "p": p,
            "p_holm": holm(p),
            "seeds": np.array([one.count for one in estimates], dtype=np.int64),
        },
        units={"softmax_less_sigmoid": "nats"},
    )


def _predicted(
    config: SurrogateNormsConfig, found: Found, name: str, *words: str
) -> NDArray[np.float64]:
    """Give what is said of each norm (or matrix), the mean over seeds."""
    method, attention, backward = words
    if backward == "true" and name != "sigma":
        return np.array([1.0 if name == "length_ratio" else 0.0])
    column = {
        "direction_lost": f"cosine_{backward}",
        "length_ratio": f"length_{backward}",
        "gradient_angle": f"angle_{backward}",
        "own_direction_lost": f"cosine_{backward}",
        "sigma": "sigma_mean",
    }[name]
    learned_with = backward if name in AFTERWARDS else "true"
    trials = [found[seed, method, attention, learned_with] for seed in config.all_seeds]
    rows = [trial[column] for trial in trials if column in trial]
    if not rows:
        return np.array([np.nan])
    values = np.mean(rows, axis=0)
    return 1 - values if name.endswith("direction_lost") else values


def _predictions(config: SurrogateNormsConfig, found: Found) -> Table:
    """Lay out the predictions norm by norm."""
    norms = [f"h.{layer}.ln_{n}" for layer in range(config.n_layer) for n in (1, 2)] + ["ln_f"]
    ran = list(product(config.methods, config.attn_modes, config.surrogates))

    def column(name: str) -> NDArray[np.float64]:
        values = [_predicted(config, found, name, *words) for words in ran]
        return np.concatenate([np.broadcast_to(value, len(norms)) for value in values])

    return Table(
        name="predictions",
        columns={
            "method": np.repeat([method for method, _, _ in ran], len(norms)),
            "attention": np.repeat([attention for _, attention, _ in ran], len(norms)),
            "norm_backward": np.repeat([backward for _, _, backward in ran], len(norms)),
            "norm": np.tile(norms, len(ran)),
            "direction_lost": column("direction_lost"),
            "length_ratio": column("length_ratio"),
            **{name: column(name) for name in AFTERWARDS},
        },
    )


def _curves(config: SurrogateNormsConfig, found: Found) -> Table:
    """Average the losses of batches over ten steps and over seeds that got there."""
    ran = list(product(config.methods, config.attn_modes, ("true", *config.surrogates)))
    losses = [[found[(seed, *words)]["losses"] for seed in config.all_seeds] for words in ran]
    drawn = [curve(np.array(of)) for of in losses]
    count = len(drawn[0][0])
    return Table(
        name="curves",
        columns={
            "condition": np.repeat(
                [f"{method}, {attention}" for method, attention, _ in ran], count
            ),
            "norm_backward": np.repeat([backward for _, _, backward in ran], count),
            "step": np.concatenate([steps for steps, _ in drawn]),
            "loss": np.concatenate([means for _, means in drawn]),
        },
        units={"loss": "nats"},
    )


def _seeds(found: Found) -> Table:
    words = np.array([tuple(map(str, ran[1:])) for ran in found])
    losses = np.array([float(trial["validation_loss"]) for trial in found.values()])
    true = [float(found[(*ran[:3], "true")]["validation_loss"]) for ran in found]
    return Table(
        name="seeds",
        columns={
            "seed": np.array([seed for seed, *_ in found]),
            "method": words[:, 0],
            "attention": words[:, 1],
            "norm_backward": words[:, 2],
            "validation_loss": losses,
            "cost": losses - np.array(true),
            "diverged_at": np.array([int(trial["diverged_at"]) for trial in found.values()]),
        },
        units={"validation_loss": "nats", "cost": "nats"},
    )
