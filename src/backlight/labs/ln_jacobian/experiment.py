"""How much do centring and scaling take out of the gradient at each layer norm?

    backlight lab ln-jacobian
    backlight lab ln-jacobian --text my.txt --seeds 5

A small GPT learns characters by a rule, feedback alignment by default, once with softmax and once
with sigmoid attention. Then, on one more batch, the gradient u before each norm's gain is split:

    u = mean(u) + z mean(u z) + rest,    gradient at the norm's input = rest / sigma.

The shares of the first two parts in the energy of u are ``r_mean`` and ``r_radial``; a gradient
that has nothing to do with the norm's input has 1/d in each (the chance level). A simpler backward
that leaves a part in is as good as its cosine with the rest.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from backlight.data.characters import Characters
from backlight.decompose.surrogates import norm_chance
from backlight.labs.characters.learning import (
    Lesson,
    learn,
    make_network,
    open_text,
    validation_loss,
)
from backlight.labs.characters.norm_parts import find_norms, take_norms_apart
from backlight.labs.frame.notebook import Findings, Notebook
from backlight.labs.ln_jacobian.options import LnJacobianConfig
from backlight.report.plots import Panel, Plot
from backlight.tables import Table

# What is tabulated, and what the document from which this experiment comes called it.
_COLUMNS = {
    "r_mean": "r_mean",
    "r_radial": "r_radial",
    "sigma_mean": "sigma_mean",
    "sigma_std": "sigma_std",
    "cos_center_true": "cosine_center_scale",
    "cos_ste_true": "cosine_identity",
    "cos_center_ste": "cosine_center_scale_to_identity",
    "cos_projected_true": "cosine_projected",
    "length_projected": "length_projected",
}
_CHANCE = "chance"


def experiment(config: LnJacobianConfig, notebook: Notebook) -> Findings:
    """Train, take apart, tabulate.

    Args:
        config: The options.
        notebook: Where trials are carried out.

    Returns:
        Tables ``norms`` (one row for each attention and norm, over seeds), ``averages`` (over
        norms) and ``seeds`` (everything), a figure, and what the averages say.
    """
    text = open_text(config)

    def trial(attention: str, seed: int) -> Mapping[str, NDArray[np.float64]]:
        model = make_network(config, text, seed, attn_mode=attention, method=config.method)
        lesson = Lesson(config, text, seed, notebook.device)
        model.to(notebook.device)
        losses = learn(model, lesson)
        held_out = validation_loss(model, text)
        parts = take_norms_apart(model, text, lesson.draw(), without_gain=config.without_gain)
        return {"losses": losses, "validation_loss": np.array(held_out), **parts}

    trials = {
        f"{attention}, seed {seed}": partial(trial, attention, seed)
        for attention in config.attn_modes
        for seed in config.all_seeds
    }
    found = list(notebook.carry_out(trials).values())
    names = [
        path.removeprefix("transformer.") for path in find_norms(make_network(config, text, 0))
    ]
    seeds = _table(config, names, found)
    norms, averages = _over_seeds(config, seeds, names), _averages(config, seeds, found)
    return Findings(
        tables=(norms, averages, seeds),
        plots=(_plot(config),),
        printed=("norms", "averages"),
        remarks=_remarks(config, averages, text),
    )


def _table(
    config: LnJacobianConfig,
    names: Sequence[str],
    found: Sequence[Mapping[str, NDArray[np.float64]]],
) -> Table:
    """Lay out every attention, seed and norm."""
    ran = [(attention, seed) for attention in config.attn_modes for seed in config.all_seeds]
    return Table(
        name="seeds",
        columns={
            "attention": np.repeat([attention for attention, _ in ran], len(names)),
            "seed": np.repeat([seed for _, seed in ran], len(names)),
            "norm": np.tile(names, len(ran)),
            **{
                column: np.concatenate([trial[source] for trial in found])
                for column, source in _COLUMNS.items()
            },
        },
    )


def _over_seeds(config: LnJacobianConfig, seeds: Table, names: Sequence[str]) -> Table:
    """Average each norm over seeds; with several, say how far they spread."""
    shape = (len(config.attn_modes), config.seeds, len(names))
    columns = {
        "attention": np.repeat(config.attn_modes, len(names)),
        "norm": np.tile(names, len(config.attn_modes)),
    }
    for column in _COLUMNS:
        values = seeds[column].reshape(shape)
        columns[column] = values.mean(axis=1).ravel()
        if config.seeds > 1:
            columns[f"{column}_std"] = values.std(axis=1, ddof=1).ravel()
    return Table(name="norms", columns=columns)


def _averages(
    config: LnJacobianConfig, seeds: Table, found: Sequence[Mapping[str, NDArray[np.float64]]]
) -> Table:
    """Average over all norms, with the spread over seeds and the level of chance below."""
    count = len(config.attn_modes)
    losses = np.array([float(trial["validation_loss"]) for trial in found]).reshape(count, -1)
    chance = norm_chance(config.n_embd, is_centred=True)
    levels = {
        "r_mean": chance.r_mean,
        "r_radial": chance.r_radial,
        "cos_center_true": chance.cosine["center_scale"],
        "cos_ste_true": chance.cosine["identity"],
        "cos_center_ste": (1 - chance.r_mean) ** 0.5,
        "cos_projected_true": 1.0,
    }
    columns: dict[str, NDArray[np.str_ | np.float64]] = {
        "attention": np.array([*config.attn_modes, _CHANCE])
    }
    for column in ("validation_loss", *_COLUMNS):
        values = (
            losses
            if column == "validation_loss"
            else seeds[column].reshape(count, config.seeds, -1).mean(axis=2)
        )
        columns[column] = np.append(values.mean(axis=1), levels.get(column, np.nan))
        if config.seeds > 1:
            columns[f"{column}_std"] = np.append(values.std(axis=1, ddof=1), np.nan)
    return Table(name="averages", columns=columns, units={"validation_loss": "nats"})


def _plot(config: LnJacobianConfig) -> Plot:
    chance = norm_chance(config.n_embd, is_centred=True)
    shown = {
        "r_mean": ("energy in the mean part (centring takes it out)", chance.r_mean),
        "r_radial": ("energy in the radial part (scaling takes it out)", chance.r_radial),
        "cos_center_true": ("cosine, center_scale and true", chance.cosine["center_scale"]),
        "cos_ste_true": ("cosine, identity (STE) and true", chance.cosine["identity"]),
    }
    return Plot(
        name="ln_jacobian",
        title=f"What each layer norm does to the gradient, after {config.num_steps} steps of "
        f"{config.method}" + (" (gains left out)" if config.without_gain else ""),
        panels=[
            Panel(
                table="seeds",
                x="norm",
                y=column,
                series="attention",
                title=title,
                levels={f"chance {level:.4f}": level},
                log="y" if column.startswith("r_") else "",
                x_label="",
            )
            for column, (title, level) in shown.items()
        ],
    )


def _remarks(config: LnJacobianConfig, averages: Table, text: Characters) -> list[str]:
    rows = range(len(config.attn_modes))
    return [
        f"{len(text.train):,} characters to learn from, {config.num_steps} steps by "
        f"{config.method}, {config.seeds} seed(s).",
        *(
            f"{averages['attention'][row]}: validation loss "
            f"{averages['validation_loss'][row]:.3f}; AVG r_mean={averages['r_mean'][row]:.4f} "
            f"r_radial={averages['r_radial'][row]:.4f} "
            f"cos_center={averages['cos_center_true'][row]:.4f} "
            f"cos_ste={averages['cos_ste_true'][row]:.4f}"
            for row in rows
        ),
        "r_mean and r_radial are energies over energies; cosines are means over tokens. "
        "'projected' takes out both parts and does not divide by sigma, so its cosine with the "
        "true gradient is 1 but for its length, which is length_projected times the true one's.",
        *(
            [
                "Gains were left out, as in the document; with gains other than 1 the parts are "
                "not exactly those of the gradient."
            ]
            if config.without_gain
            else []
        ),
    ]
