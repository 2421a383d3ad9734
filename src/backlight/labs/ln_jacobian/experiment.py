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

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float

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
from backlight.labs.frame.repeating import Arrays, Found, repeat
from backlight.labs.frame.tabulating import Block, sentences, stacked
from backlight.labs.ln_jacobian.options import LnJacobianConfig
from backlight.report.plots import Panel, Plot
from backlight.surveys.driver.trials import LabFindings, TrialRunner
from backlight.tables import Table

# What is tabulated, by the names in which the question was first asked (docs/learning-rules.md).
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


def experiment(config: LnJacobianConfig, runner: TrialRunner) -> LabFindings:
    """Train, take apart, tabulate.

    Args:
        config: The options.
        runner: Where trials are carried out.

    Returns:
        Tables ``norms`` (one row for each attention and norm, over seeds), ``averages`` (over
        norms) and ``seeds`` (everything), a figure, and what the averages say.
    """
    text = open_text(config)

    def trial(attention: str, seed: int) -> Arrays:
        model = make_network(config, text, seed, attn_mode=attention, method=config.method)
        lesson = Lesson(config, text, seed, runner.device)
        model.to(runner.device)
        losses = learn(model, lesson)
        held_out = validation_loss(model, text)
        parts = take_norms_apart(model, lesson.draw(), without_gain=config.without_gain)
        return {"losses": losses, "validation_loss": np.array(held_out), **parts}

    axes = {"attention": config.attn_modes}
    found = repeat(runner, trial, axes, config.all_seeds, "{attention}, seed {seed}")
    paths = find_norms(make_network(config, text, 0))
    names = [path.removeprefix("transformer.") for path in paths]
    averages = _averages(config, found)
    return LabFindings(
        tables=(
            stacked("norms", _over_seeds(found, names)),
            averages,
            stacked("seeds", _seeds(config, found, names)),
        ),
        plots=(_plot(config),),
        printed=("norms", "averages"),
        remarks=_remarks(config, averages, text),
    )


def _seeds(config: LnJacobianConfig, found: Found, names: Sequence[str]) -> Iterator[Block]:
    """Lay out every attention, seed and norm."""
    for (condition, arrays), (row, seed) in product(found, enumerate(config.all_seeds)):
        columns = {column: arrays[source][row] for column, source in _COLUMNS.items()}
        yield {**condition, "seed": seed, "norm": names, **columns}


def _over_seeds(found: Found, names: Sequence[str]) -> Iterator[Block]:
    """Average each norm over seeds."""
    for condition, arrays in found:
        block = {**condition, "norm": names}
        for column, source in _COLUMNS.items():
            block |= _spread(column, arrays[source])
        yield block


def _averages(config: LnJacobianConfig, found: Found) -> Table:
    """Average over all norms, with the spread over seeds and the level of chance below."""
    chance = norm_chance(config.n_embd, is_centred=True)
    levels = {
        "attention": "chance",
        "r_mean": chance.r_mean,
        "r_radial": chance.r_radial,
        "cos_center_true": chance.cosine["center_scale"],
        "cos_ste_true": chance.cosine["identity"],
        "cos_center_ste": (1 - chance.r_mean) ** 0.5,
        "cos_projected_true": 1.0,
    }
    blocks: list[dict[str, Any]] = []
    for condition, arrays in found:
        blocks.append({**condition, **_spread("validation_loss", arrays["validation_loss"])})
        for column, source in _COLUMNS.items():
            blocks[-1] |= _spread(column, arrays[source].mean(axis=1))
    blocks.append({name: levels.get(name, np.nan) for name in blocks[0]})
    return stacked("averages", blocks, {"validation_loss": "nats"})


def _spread(name: str, values: Float[np.ndarray, "seeds ..."]) -> dict[str, Any]:
    """Average over seeds; with several, add how far they spread."""
    columns = {name: values.mean(axis=0)}
    if len(values) > 1:
        columns[f"{name}_std"] = values.std(axis=0, ddof=1)
    return columns


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
    told = sentences(
        averages,
        "{attention}: validation loss {validation_loss:.3f}; AVG r_mean={r_mean:.4f} "
        "r_radial={r_radial:.4f} cos_center={cos_center_true:.4f} cos_ste={cos_ste_true:.4f}",
    )
    remarks = [
        f"{len(text.train):,} characters to learn from, {config.num_steps} steps by "
        f"{config.method}, {config.seeds} seed(s).",
        *told[:-1],  # the last row is chance
        "r_mean and r_radial are energies over energies; cosines are means over tokens, cos_center "
        "and cos_ste those of the backward passes center_scale and identity with the true one. "
        "'projected' takes out both parts and does not divide by sigma, so its cosine with the "
        "true gradient is 1 but for its length, which is length_projected times the true one's.",
    ]
    if config.without_gain:
        remarks.append(
            "Gains were left out; with gains other than 1 the parts are not exactly those of the "
            "gradient."
        )
    return remarks
