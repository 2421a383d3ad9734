"""Figures of one number per layer and token: heatmaps of means, of heads, and of single prompts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backlight.errors import shorten
from backlight.models.sites import kind_of
from backlight.report.layout import Words, sheet
from backlight.report.visible import visible
from backlight.surveys.tokens.figures.heatmap import Cells, Colours, draw_cells, key_of
from backlight.surveys.tokens.figures.labels import explain_labels
from backlight.tables import Table

_TITLES = {
    "gradient_norm": "Norm of the gradient at each layer and token",
    "activation_norm": "Norm of the activation at each layer and token",
    "grad_x_act": "Gradient x activation at each layer and token",
}
_MEANINGS = {
    "gradient_norm": (
        "How much the objective changes, to first order, if the vector at this place is moved by "
        "one unit in the direction in which it changes most."
    ),
    "activation_norm": "How long the vector at this place is.",
    "grad_x_act": (
        "Inner product of gradient and activation: how much of the objective would be lost, to "
        "first order, if the vector at this place were shrunk to zero. Blue: the vector lowers "
        "the objective."
    ),
}
_NUM_SINGLE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Grids:
    """What all grids of a run are drawn from.

    Attributes:
        title: What was measured.
        num_input: How many positions are of the input.
        positions: The table by site, head and position.
        prompts: The table by prompt.
        arrays: The arrays of the run.
    """

    title: str
    num_input: int
    positions: Table
    prompts: Table
    arrays: Mapping[str, NDArray[Any]]

    @property
    def kinds(self) -> list[str]:
        """The kinds of sites in their order."""
        return list(dict.fromkeys(kind_of(str(site)) for site in self.positions["site"]))

    def input_of(self, kind: str) -> Table:
        """Select one kind of site, and only the tokens of the input."""
        table = self.positions
        own = np.array([kind_of(str(site)) == kind for site in table["site"]])
        return table.select(own & (table["column"] < self.num_input))


def suffix_of(kind: str, kinds: Sequence[str]) -> str:
    """Tell kinds of sites apart in file names: the first has the plain name."""
    return "" if kind == kinds[0] else f"_{kind}"


def draw_heatmaps(grids: Grids) -> Iterator[tuple[str, Figure]]:
    """Draw each measure as one heatmap for each kind of site, and one for its heads.

    Args:
        grids: What to show.

    Yields:
        The name of each figure's file, and the figure.
    """
    for kind in grids.kinds:
        table, suffix = grids.input_of(kind), suffix_of(kind, grids.kinds)
        for measure in _TITLES:
            yield f"{measure}_heatmap{suffix}.png", _means(grids, kind, table, measure)
            if not np.isnan(table["head"]).all():
                yield f"{measure}_heatmap{suffix}_heads.png", _heads(grids, kind, table, measure)


def draw_single_prompts(grids: Grids) -> Iterator[tuple[str, Figure]]:
    """Draw the gradient's norm in four single prompts, on one scale, for each kind of site.

    Args:
        grids: What to show.

    Yields:
        The name of each figure's file, and the figure.
    """
    for kind in grids.kinds:
        name = f"gradient_norm_heatmap_individual{suffix_of(kind, grids.kinds)}.png"
        yield name, _single(grids, kind)


def _means(grids: Grids, kind: str, table: Table, measure: str) -> Figure:
    whole = table.select(np.isnan(table["head"]))
    cells = cells_of(whole, measure)
    colours = _colours([cells], measure, f"mean {table.label(measure)}")
    words = Words(
        title=f"{_TITLES[measure]}, {kind}",
        subtitle=grids.title,
        caption=_caption(grids, kind, whole, [cells], measure),
        key=key_of([cells]),
    )
    height, width = cells.values.shape
    figure = sheet(
        _within(0.5 * width + 2.2, 7.5, 30),
        max(height * _row_height(height), 2) + _names(cells),
        words,
    )
    axes = figure.subplots()
    draw_cells(axes, cells, colours)
    axes.set(ylabel=_row_label(kind, whole), xlabel="token of the input")
    _add_bar(figure, [axes], colours)
    return figure


def _heads(grids: Grids, kind: str, table: Table, measure: str) -> Figure:
    heads = [int(head) for head in np.unique(table["head"][~np.isnan(table["head"])])]
    each = [cells_of(table.select(table["head"] == head), measure) for head in heads]
    words = Words(
        title=f"{_TITLES[measure]}, {kind}, head by head",
        subtitle=grids.title,
        caption=_caption(grids, kind, table, each, measure),
        key=key_of(each),
    )
    colours = _colours(each, measure, f"mean {table.label(measure)}")
    return _panels(
        each, [f"head {head}" for head in heads], words, colours, _row_label(kind, table)
    )


def _single(grids: Grids, kind: str) -> Figure:
    table = grids.input_of(kind)
    whole = table.select(np.isnan(table["head"]))
    chosen = _some_prompts(grids.prompts)
    each = [_of_prompt(grids, whole, prompt) for prompt in chosen]
    words = Words(
        title=f"{_TITLES['gradient_norm']}, {kind}, in single prompts",
        subtitle=grids.title,
        caption=[
            f"Some of the {grids.prompts.num_rows:,} prompts, one by one, all on one scale. Above "
            "each grid: the prompt, and after the arrow its right answer.",
            *_explain_uncoloured(kind, each),
        ],
        key=key_of(each),
    )
    colours = _colours(each, "gradient_norm", table.label("gradient_norm"))
    titles = [_prompt_title(grids.prompts, prompt) for prompt in chosen]
    return _panels(each, titles, words, colours, _row_label(kind, whole))


def _panels(
    each: Sequence[Cells], titles: Sequence[str], words: Words, colours: Colours, row_label: str
) -> Figure:
    """Draw grids of one shape beside and below each other."""
    height, width = each[0].values.shape
    panel = (
        _within(0.4 * width, 3.2, 18) + 0.4,
        max(height * min(_row_height(height), 0.25), 1.4) + 0.4,
    )
    rows, columns = _arrange(len(each), aspect=panel[0] / panel[1])
    figure = sheet(
        _within(columns * panel[0] + 1.6, 8, 40), _within(rows * panel[1] + 1, 2.5, 60), words
    )
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    letters = int(14.5 * panel[0])
    for place, axes in enumerate(panels.flat):
        if place >= len(each):
            axes.set_axis_off()
            continue
        lowest, leftmost = place + columns >= len(each), place % columns == 0
        draw_cells(axes, each[place], colours, positions=False)
        axes.set_title(shorten(titles[place], letters), fontsize=8, loc="left", parse_math=False)
        axes.tick_params(labelbottom=lowest, labelleft=leftmost)
        axes.set(
            xlabel="token of the input" if lowest else "", ylabel=row_label if leftmost else ""
        )
    _add_bar(figure, list(panels.flat), colours)
    return figure


def cells_of(table: Table, measure: str) -> Cells:
    """Arrange a table of one kind of site, and of whole vectors or one head, as a grid.

    Args:
        table: Rows of the table by site, head and position.
        measure: Which column.

    Returns:
        Sites x positions.
    """
    sites = list(dict.fromkeys(str(site) for site in table["site"]))
    shape = (len(sites), table.num_rows // len(sites))
    gradient = measure != "activation_norm"
    structural = (table["num_reaching"] == 0) & gradient
    first = slice(0, shape[1])
    return Cells(
        values=table[measure].reshape(shape),
        structural=structural.reshape(shape),
        rows=_row_names(table, sites),
        tokens=[str(token) for token in table["token"][first]],
        positions=[str(name) for name in table["position"][first]],
    )


def _of_prompt(grids: Grids, table: Table, prompt: int) -> Cells:
    means = cells_of(table, "gradient_norm")
    sites = list(dict.fromkeys(str(site) for site in table["site"]))
    columns = slice(0, grids.num_input)
    values = [grids.arrays[f"{site}/gradient_norm"][prompt, 0, columns] for site in sites]
    reach = [grids.arrays[f"{site}/reachable"][prompt, columns] for site in sites]
    return Cells(
        values=np.stack(values),
        structural=~np.stack(reach),
        rows=means.rows,
        tokens=means.tokens,
        positions=means.positions,
    )


def _row_names(table: Table, sites: Sequence[str]) -> list[str]:
    layers = table["layer"][:: table.num_rows // len(sites)]
    return [
        site if np.isnan(layer) else str(int(layer))
        for site, layer in zip(sites, layers, strict=True)
    ]


def _row_label(kind: str, table: Table) -> str:
    return "site" if np.isnan(table["layer"]).any() else f"layer ({kind})"


def _colours(each: Sequence[Cells], measure: str, label: str) -> Colours:
    values = np.concatenate([cells.shown() for cells in each])
    make = Colours.of_signed if measure == "grad_x_act" else Colours.of_sizes
    return make(values, label)


def _add_bar(figure: Figure, panels: list[Axes], colours: Colours) -> None:
    bar = colours.bar()
    if bar is not None:
        figure.colorbar(
            bar,
            ax=panels,
            label=colours.label,
            extend="min" if colours.open_below else "neither",
            pad=0.01,
            fraction=0.05,
            aspect=figure.get_figheight() / 0.28,
        )


def of_prompts(grids: Grids) -> str:
    """Say over how many prompts something is a mean."""
    count = grids.prompts.num_rows
    return f"all {count:,} prompts" if count > 1 else "the only prompt"


def _caption(
    grids: Grids, kind: str, table: Table, each: Sequence[Cells], measure: str
) -> list[str]:
    return [
        f"{_MEANINGS[measure]} Mean over {of_prompts(grids)}; the first layer is at the bottom.",
        *explain_labels(table, grids.prompts.num_rows),
        *_explain_uncoloured(kind, each),
    ]


def _explain_uncoloured(kind: str, each: Sequence[Cells]) -> list[str]:
    lines: list[str] = []
    if any(cells.structural.any() for cells in each):
        line = (
            "Hatched: zero by causality, whatever the weights. From these places nothing reaches "
            "the objective: no attention follows that could carry it to where the answer is "
            "predicted."
        )
        if kind.startswith("attn.q") and any(_first_alone(cells) for cells in each):
            line += " At the first token a query sees one key only, over which softmax is constant."
        lines.append(line)
    if any(cells.zero.any() for cells in each):
        lines.append("Grey: could be another value, but is exactly zero; no colour stands for it.")
    return lines


def _first_alone(cells: Cells) -> bool:
    """Tell whether the first token is zero by causality in a layer where the second is not."""
    return bool((cells.structural[:, :1] & ~cells.structural[:, 1:2]).any())


def _some_prompts(prompts: Table) -> list[int]:
    """Choose four: the first two of each split, or evenly spread over all."""
    if "split" in prompts.columns:
        splits = list(dict.fromkeys(str(split) for split in prompts["split"]))
        if len(splits) == 2:
            rows = [np.flatnonzero(prompts["split"] == split)[:2] for split in splits]
            return [int(row) for row in np.concatenate(rows)]
    count = min(_NUM_SINGLE, prompts.num_rows)
    return np.linspace(0, prompts.num_rows - 1, count).round().astype(int).tolist()


def _prompt_title(prompts: Table, row: int) -> str:
    text, answer = (visible(str(prompts[name][row]), blanks=False) for name in ("text", "answer"))
    split = f"{prompts['split'][row]}: " if "split" in prompts.columns else ""
    return f"{split}{text} \u2192{answer}"


def _arrange(count: int, aspect: float) -> tuple[int, int]:
    """Arrange panels about as wide as high, or somewhat wider, with few places left empty."""
    ideal = float(np.sqrt(1.5 * count / aspect))

    def unfit(columns: int) -> float:
        empty = -(-count // columns) * columns - count
        return abs(float(np.log(columns / ideal))) + 2 * empty / count

    columns = min(range(1, count + 1), key=unfit)
    return -(-count // columns), columns


def _row_height(num_rows: int) -> float:
    """Give rows more room where there are few of them."""
    return _within(7 / num_rows, 0.21, 0.36)


def _names(cells: Cells) -> float:
    """Estimate the inches that names above and below a grid take."""
    above = max(map(len, cells.positions))
    below = max(map(len, cells.tokens))
    return 0.75 + 0.065 * above + 0.075 * min(below, 30)


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
