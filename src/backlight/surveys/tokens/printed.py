"""What ``backlight tokens`` prints: the largest gradients, the shapes, and the positions."""

from collections.abc import Iterator

import numpy as np

from backlight.errors import quoted
from backlight.runs.results import Results
from backlight.surveys.driver.printing import Column, Shown, percent, whole
from backlight.surveys.tokens.options import TokensConfig
from backlight.tables import Table

_NUM_POSITIONS = 5
_OBJECTIVES = {
    "loss": "loss of the answer's tokens",
    "logit": "logit of the answer's first token",
    "logit_difference": "logit of the answer less the wrong one's",
}


def printed(options: TokensConfig, results: Results) -> Iterator[Shown | str]:
    """Show where the gradient sits, and the shape of its vectors.

    Args:
        options: The options of the run.
        results: What was found.

    Yields:
        Tables, and a sentence between them.
    """
    about = results.metadata
    yield _sites(options, results)
    yield (
        f"{about['num_prompts']:,} prompts; loss {about['loss_nats_per_token']:.4f} nats per "
        f"answer token; greedy answers right: {100 * about['share_right']:.1f} %."
    )
    yield _geometry(results)


def listed(options: TokensConfig) -> Iterator[Shown]:
    """Show the positions of the prompts that the options ask for, with all their names.

    Args:
        options: The options.

    Yields:
        The table of positions.
    """
    # Listing positions takes a tokenizer, so it takes the model.
    from backlight.surveys.tokens.measure.checkpoints import load_answering
    from backlight.surveys.tokens.measure.prompts import draw_prompts, locate_prompts

    found = locate_prompts(options, draw_prompts(options), load_answering(options))
    grid, prompts = found.grid, found.prompts
    columns = {
        "column": np.arange(len(grid.positions)),
        "position": np.array([each.name for each in grid.positions]),
        "token": np.array(
            [quoted(each.label) if each.part == "token" else each.label for each in grid.positions]
        ),
        "prompts": np.array([str(count) for count in (grid.counts > 0).sum(axis=0)]),
        "also called": np.array([", ".join(each.other_names) for each in grid.positions]),
    }
    yield Shown(
        table=Table(name="positions", columns=columns),
        columns=[Column(name, name, wraps=name == "also called") for name in columns],
        title=f"Positions of {len(prompts)} prompts",
        caption=f"For example {quoted(prompts[0].text)}",
    )


def _sites(options: TokensConfig, results: Results) -> Shown:
    table = results.tables["positions"]
    whole_vectors = table.select(np.isnan(table["head"]))
    sites = list(dict.fromkeys(whole_vectors["site"].tolist()))
    own = [whole_vectors.select(whole_vectors["site"] == site) for site in sites]
    columns = {
        "site": np.array(sites),
        "positions with the largest gradient (± standard error)": np.array(
            [_largest(each) for each in own]
        ),
        "zero by causality": np.array(
            [f"{int((each['num_reaching'] == 0).sum())} of {each.num_rows}" for each in own]
        ),
    }
    return Shown(
        table=Table(name="sites", columns=columns),
        columns=[Column(name, name, wraps=name.startswith("positions")) for name in columns],
        title=f"{_OBJECTIVES[options.objective]}: gradient norms "
        f"({table.units['gradient_norm']}), largest first",
        caption=_caption(results),
    )


def _largest(table: Table) -> str:
    reached = table.select(table["num_reaching"] > 0)
    order = np.argsort(-reached["gradient_norm"], kind="stable")[:_NUM_POSITIONS]
    return ", ".join(
        f"{reached['position'][row]} {reached['gradient_norm'][row]:.3g}"
        f" ± {reached['gradient_norm_se'][row]:.1g}"
        for row in order
    )


def _geometry(results: Results) -> Shown:
    return Shown(
        table=results.tables["geometry"],
        columns=[
            Column("site", "site"),
            Column("position", "position"),
            Column("norm", "norm", ".3g"),
            Column("std", "norm_std", ".3g"),
            Column("PC1", cell=percent("pc1")),
            Column("PC2", cell=percent("pc2")),
            Column("90 %", cell=whole("components_90")),
            Column("95 %", cell=whole("components_95")),
            Column("rank", "effective_rank", ".1f"),
            Column("cosine", "mean_cosine", ".2f"),
            Column("r answer", "r_answer", ".2f"),
            Column("r loss", "r_loss", ".2f"),
        ],
        title=f"Gradient vectors across prompts (PCA {results.config['pca']})",
        caption="90 %, 95 %: components that explain so much of the variance; rank: effective "
        "rank; cosine: mean over pairs of prompts; r: correlation of the norm with the answer and "
        "with the loss. Blank: zero by causality, or not a number.",
    )


def _caption(results: Results) -> str:
    caption = (
        "Norm of the gradient of each prompt's own objective, averaged over prompts. Zero by "
        "causality: positions from which nothing can reach the objective any more, because no "
        "attention follows or the answer came before."
    )
    note = results.metadata.get("note")
    return caption if note is None else f"{caption}\nModel: {note}."
