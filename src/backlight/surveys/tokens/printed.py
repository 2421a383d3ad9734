"""What ``backlight tokens`` prints: the largest gradients, the shapes, and the positions."""

import numpy as np
from rich.table import Table as RichTable

from backlight.errors import quoted
from backlight.runs.results import Results
from backlight.surveys.driver.session import console
from backlight.surveys.tokens.measure.survey import PromptSet
from backlight.surveys.tokens.options import TokensConfig
from backlight.tables import Table

_NUM_POSITIONS = 5
_OBJECTIVES = {
    "loss": "loss of the answer's tokens",
    "logit": "logit of the answer's first token",
    "logit_difference": "logit of the answer less the wrong one's",
}


def print_tokens(config: TokensConfig, results: Results) -> None:
    """Print where the gradient sits, the shape of its vectors, and what the numbers mean.

    Args:
        config: The options of the run.
        results: What was found.
    """
    _print_layers(config, results)
    _print_geometry(results)


def print_positions(material: PromptSet) -> None:
    """Print the positions of some prompts, with all their names and an example.

    Args:
        material: The prompts.
    """
    grid = material.grid
    shown = RichTable(
        title=f"Positions of {len(material.prompts)} prompts",
        caption=f"For example {quoted(material.prompts[0].text)}",
        caption_justify="left",
    )
    for heading in ("column", "position", "token", "prompts"):
        shown.add_column(heading, justify="right" if heading == "column" else "left")
    shown.add_column("also called")
    for column, position in enumerate(grid.positions):
        shown.add_row(
            str(column),
            position.name,
            quoted(position.label) if position.part == "token" else position.label,
            str(int((grid.counts[:, column] > 0).sum())),
            ", ".join(position.other_names),
        )
    console().print(shown)


def _print_layers(config: TokensConfig, results: Results) -> None:
    table, told = results.tables["positions"], results.metadata
    whole = table.select(np.isnan(table["head"]))
    unit = table.units["gradient_norm"]
    shown = RichTable(
        title=f"{_OBJECTIVES[config.objective]}: gradient norms ({unit}), largest first",
        caption=_caption(results),
        caption_justify="left",
    )
    shown.add_column("site", no_wrap=True)
    shown.add_column("positions with the largest gradient (± standard error)")
    shown.add_column("zero by causality", justify="right", no_wrap=True)
    for site in dict.fromkeys(whole["site"].tolist()):
        own = whole.select(whole["site"] == site)
        shown.add_row(site, _largest(own), _structural(own))
    console().print(shown)
    right, loss = told["share_right"], told["loss_nats_per_token"]
    console().print(
        f"{told['num_prompts']:,} prompts; loss {loss:.4f} nats per answer token; greedy "
        f"answers right: {100 * right:.1f} %."
    )


def _largest(table: Table) -> str:
    reached = table.select(table["num_reaching"] > 0)
    order = np.argsort(-reached["gradient_norm"], kind="stable")[:_NUM_POSITIONS]
    return ", ".join(
        f"{reached['position'][row]} {reached['gradient_norm'][row]:.3g}"
        f" ± {reached['gradient_norm_se'][row]:.1g}"
        for row in order
    )


def _structural(table: Table) -> str:
    return f"{int((table['num_reaching'] == 0).sum())} of {table.num_rows}"


def _print_geometry(results: Results) -> None:
    table = results.tables["geometry"]
    shown = RichTable(
        title=f"Gradient vectors across prompts (PCA {results.config['pca']})",
        caption="90 %, 95 %: components that explain so much of the variance; rank: effective "
        "rank; cosine: mean over pairs of prompts; r: correlation of the norm with the answer and "
        "with the loss. Blank: zero by causality, or not a number.",
        caption_justify="left",
    )
    shown.add_column("site", no_wrap=True)
    shown.add_column("position", no_wrap=True)
    for heading in ("norm", "std", "PC1", "PC2", "90 %", "95 %", "rank", "cosine"):
        shown.add_column(heading, justify="right")
    shown.add_column("r answer", justify="right")
    shown.add_column("r loss", justify="right")
    for row in range(table.num_rows):
        cells = [str(table["site"][row]), str(table["position"][row])]
        cells += [_number(table[name][row], ".3g") for name in ("norm", "norm_std")]
        cells += [_number(100 * table[name][row], ".1f", " %") for name in ("pc1", "pc2")]
        cells += [
            _number(float(table[name][row]), ".0f") for name in ("components_90", "components_95")
        ]
        cells.append(_number(table["effective_rank"][row], ".1f"))
        cells += [
            _number(table[name][row], ".2f") for name in ("mean_cosine", "r_answer", "r_loss")
        ]
        shown.add_row(*cells)
    console().print(shown)


def _caption(results: Results) -> str:
    lines = [
        "Norm of the gradient of each prompt's own objective, averaged over prompts. Zero by "
        "causality: positions from which nothing can reach the objective any more, because no "
        "attention follows or the answer came before.",
    ]
    if "note" in results.metadata:
        lines.append(f"Model: {results.metadata['note']}.")
    return "\n".join(lines)


def _number(value: float, form: str, unit: str = "") -> str:
    return "" if np.isnan(value) else f"{value:{form}}{unit}"
