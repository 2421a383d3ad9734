"""Tables of a survey of prompts as they are printed: the largest gradients, and the shapes."""

from collections.abc import Callable, Iterator

import numpy as np

from backlight.runs.results import Results
from backlight.surveys.driver.words.path import path_notes, path_table, titled, whole_path_table
from backlight.surveys.driver.words.printing import Column, Shown, percent, sure_number, whole
from backlight.surveys.driver.words.ranking import largest
from backlight.surveys.tokens.options import TokensConfig
from backlight.surveys.tokens.printed.summary import reaching
from backlight.tables import Table

_NUM_POSITIONS = 5
_MOST_SITES = 6
_MOST_SHAPES = 2
_OBJECTIVES = {
    "loss": "loss of the answer's tokens",
    "logit": "logit of the answer's first token",
    "logit_difference": "logit of the answer less the wrong one's",
}


def brief(options: TokensConfig, results: Results) -> Iterator[Shown | str]:
    """Show where the gradient sits at a few sites, and the shapes of the longest vectors.

    Args:
        options: The options of the run.
        results: What was found.

    Yields:
        Two small tables, and what the model is.
    """
    del options
    yield _of_sites(results)
    shapes = largest(results.tables["geometry"], "norm", _MOST_SHAPES)
    yield Shown(
        table=shapes,
        columns=[
            Column("largest vectors", cell=_place, wraps=True),
            Column("norm", "norm", ".3g"),
            Column("PC1", cell=percent("pc1")),
            Column("effective rank", "effective_rank", ".1f"),
            Column("r answer", "r_answer", "+.2f"),
            Column("r loss", "r_loss", "+.2f"),
        ],
        num_all=results.tables["geometry"].num_rows,
    )
    yield from path_table(results)
    yield " ".join(filter(None, [_model(results), *path_notes(results)]))


def _of_sites(results: Results) -> Shown:
    """Show the two positions with the largest gradients at each of some sites, by depth."""
    reached = reaching(results)
    sites = list(dict.fromkeys(reached["site"].tolist()))
    some = np.unique(np.linspace(0, len(sites) - 1, _MOST_SITES).round().astype(int))
    own = [
        largest(reached.select(reached["site"] == sites[place]), "gradient_norm", 2)
        for place in (some if sites else [])
    ]
    write = sure_number("gradient_norm")

    def column(rank: int, cell: Callable[[Table, int], str]) -> np.ndarray:
        cells = [cell(each, rank) if rank < each.num_rows else "" for each in own]
        return np.array(cells, dtype=object)

    columns = {
        "by depth": column(0, _of("site")),
        "largest at": column(0, _of("position")),
        f"norm ± se ({reached.units['gradient_norm']})": column(0, write),
        "next at": column(1, _of("position")),
        "norm ± se": column(1, write),
    }
    return Shown(
        table=Table(name="sites", columns=columns),
        columns=[Column(name, name, wraps=not name.startswith("norm")) for name in columns],
        num_all=len(sites),
    )


def _place(table: Table, row: int) -> str:
    return f"{table['position'][row]} at {table['site'][row]}"


def _of(column: str) -> Callable[[Table, int], str]:
    return lambda table, row: str(table[column][row])


def tables(options: TokensConfig, results: Results) -> Iterator[Shown | str]:
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
    yield from whole_path_table(results)


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
        title=titled(f"{_OBJECTIVES[options.objective]}: gradient norms", results.config)
        + f" ({table.units['gradient_norm']}), largest first",
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
    return "\n".join(filter(None, [caption, _model(results), *path_notes(results)]))


def _model(results: Results) -> str:
    note = results.metadata.get("note")
    return "" if note is None else f"Model: {note}."
