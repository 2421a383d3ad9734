"""Figures of one number per layer and token: heatmaps of means, of heads, and of single prompts."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backlight.errors import shorten
from backlight.foreign.text import visible
from backlight.report.colours import DIVERGING, SEQUENTIAL, around_zero, of_sizes
from backlight.report.drawing import Drawing
from backlight.report.layout import figure_with_text, panels_in
from backlight.report.maps import add_bar
from backlight.surveys.tokens.figures.cells import Cells, cells_of, draw_cells, samples_of
from backlight.surveys.tokens.labels import explain_labels
from backlight.surveys.tokens.shown import Shown
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
_DECADES = 6  # below the largest value, which one scale shows
_ALONG = "token of the input"


def draw_heatmaps(shown: Shown) -> Iterator[Drawing]:
    """List each measure of each kind of site, of its heads, and of some single prompts.

    Args:
        shown: What to show.

    Yields:
        The figures, not yet drawn.
    """
    for kind in shown.kinds:
        suffix = shown.suffix_of(kind)
        whole, heads = shown.input_of(kind)
        for measure in _TITLES:
            name, means = f"{measure}_heatmap{suffix}", partial(_draw_means, shown, kind, whole)
            yield Drawing(name=name, make=partial(means, measure))
            if heads.num_rows:
                by_head = partial(_draw_heads, shown, kind, heads, measure)
                yield Drawing(name=f"{name}_heads", make=by_head)
        single = partial(_draw_single, shown, kind, whole)
        yield Drawing(name=f"gradient_norm_heatmap_individual{suffix}", make=single)


def _draw_means(shown: Shown, kind: str, table: Table, measure: str) -> Figure:
    cells = cells_of(table, measure)
    height, width = cells.values.shape
    figure = figure_with_text(
        _between(0.5 * width + 2.2, 7.5, 30),
        max(height * _row_height(height), 2) + _room_for_names(cells),
        title=f"{_TITLES[measure]}, {kind}",
        subtitle=shown.title,
        caption=_caption(shown, kind, table, [cells], measure),
        key=samples_of([cells]),
    )
    axes, colours = figure.subplots(), _colours([cells], measure)
    draw_cells(axes, cells, colours)
    axes.set(ylabel=_row_label(kind, table), xlabel=_ALONG)
    _add_bar(figure, [axes], colours, [cells], f"mean {table.label(measure)}")
    return figure


def _draw_heads(shown: Shown, kind: str, table: Table, measure: str) -> Figure:
    heads = np.unique(table["head"])
    each = [cells_of(table.select(table["head"] == head), measure) for head in heads]
    return _draw_panels(
        each,
        [f"head {head:.0f}" for head in heads],
        measure,
        (_row_label(kind, table), f"mean {table.label(measure)}"),
        title=f"{_TITLES[measure]}, {kind}, head by head",
        subtitle=shown.title,
        caption=_caption(shown, kind, table, each, measure),
    )


def _draw_single(shown: Shown, kind: str, table: Table) -> Figure:
    """Draw the gradient's norm in four single prompts, on one scale."""
    chosen = _some_prompts(shown.prompts)
    each = [_of_prompt(shown, table, prompt) for prompt in chosen]
    return _draw_panels(
        each,
        [_prompt_title(shown.prompts, prompt) for prompt in chosen],
        "gradient_norm",
        (_row_label(kind, table), table.label("gradient_norm")),
        title=f"{_TITLES['gradient_norm']}, {kind}, in single prompts",
        subtitle=shown.title,
        caption=[
            f"Some of the {shown.prompts.num_rows:,} prompts, one by one, all on one scale. Above "
            "each grid: the prompt, and after the arrow its right answer.",
            *_explain_uncoloured(kind, each),
        ],
    )


def _draw_panels(
    each: Sequence[Cells], names: Sequence[str], measure: str, labels: tuple[str, str], **text: Any
) -> Figure:
    """Draw grids of one shape beside and below each other; the labels are of rows and colours."""
    height, width = each[0].values.shape
    wide = _between(0.4 * width, 3.2, 18) + 0.4
    high = max(height * min(_row_height(height), 0.25), 1.4) + 0.4
    columns = _columns(len(each), aspect=wide / high)
    figure = figure_with_text(
        _between(columns * wide + 1.6, 8, 40),
        _between(-(-len(each) // columns) * high + 1, 2.5, 60),
        key=samples_of(each),
        **text,
    )
    panels = panels_in(figure, len(each), columns, sharex=True, sharey=True)
    colours = _colours(each, measure)
    for place, (axes, cells) in enumerate(zip(panels, each, strict=True)):
        lowest, leftmost = place + columns >= len(each), place % columns == 0
        draw_cells(axes, cells, colours, positions=False)
        name = shorten(names[place], int(14.5 * wide))
        axes.set_title(name, fontsize=8, loc="left", parse_math=False)
        axes.tick_params(labelbottom=lowest, labelleft=leftmost)
        axes.set(xlabel=_ALONG if lowest else "", ylabel=labels[0] if leftmost else "")
    _add_bar(figure, panels, colours, each, labels[1])
    return figure


def _of_prompt(shown: Shown, table: Table, prompt: int) -> Cells:
    """Replace the means of a grid by the numbers of one prompt."""
    sites, columns = dict.fromkeys(table["site"].tolist()), slice(0, shown.num_input)
    values = [shown.arrays[f"{site}/gradient_norm"][prompt, 0, columns] for site in sites]
    reach = [shown.arrays[f"{site}/reachable"][prompt, columns] for site in sites]
    means = cells_of(table, "gradient_norm")
    return replace(means, values=np.stack(values), structural=~np.stack(reach))


def _row_label(kind: str, table: Table) -> str:
    return "site" if np.isnan(table["layer"]).any() else f"layer ({kind})"


def _shown_values(each: Sequence[Cells]) -> NDArray[np.float64]:
    return np.concatenate([cells.values[cells.coloured] for cells in each])


def _colours(each: Sequence[Cells], measure: str) -> ScalarMappable | None:
    """Choose colours for the values of some grids together; None if they have no values."""
    values = _shown_values(each)
    if measure == "grad_x_act":
        norm, colormap = around_zero(values), DIVERGING
    else:
        norm, colormap = of_sizes(values, decades=_DECADES), SEQUENTIAL
    return None if norm is None else ScalarMappable(norm, colormap)


def _add_bar(
    figure: Figure,
    panels: Sequence[Axes],
    colours: ScalarMappable | None,
    each: Sequence[Cells],
    label: str,
) -> None:
    if colours is not None:
        looks: dict[str, Any] = {
            "pad": 0.01,
            "fraction": 0.05,
            "aspect": figure.get_figheight() / 0.28,
        }
        add_bar(figure, panels, colours, _shown_values(each), label=label, **looks)


def _caption(
    shown: Shown, kind: str, table: Table, each: Sequence[Cells], measure: str
) -> list[str]:
    return [
        f"{_MEANINGS[measure]} Mean over {shown.of_prompts}; the first layer is at the bottom.",
        *explain_labels(table, shown.prompts.num_rows),
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
    """Check whether the first token is zero by causality in a layer where the second is not."""
    return bool((cells.structural[:, :1] & ~cells.structural[:, 1:2]).any())


def _some_prompts(prompts: Table) -> list[int]:
    """Choose four: the first two of each split, or evenly spread over all."""
    if "split" in prompts.columns:
        splits = list(dict.fromkeys(prompts["split"].tolist()))
        if len(splits) == 2:
            rows = [np.flatnonzero(prompts["split"] == split)[:2] for split in splits]
            return [int(row) for row in np.concatenate(rows)]
    count = min(_NUM_SINGLE, prompts.num_rows)
    return np.linspace(0, prompts.num_rows - 1, count).round().astype(int).tolist()


def _prompt_title(prompts: Table, row: int) -> str:
    text, answer = (visible(str(prompts[name][row]), blanks=False) for name in ("text", "answer"))
    split = f"{prompts['split'][row]}: " if "split" in prompts.columns else ""
    return f"{split}{text} \u2192{answer}"


def _columns(count: int, aspect: float) -> int:
    """Choose how many panels stand side by side."""
    # The figure shall be half as wide again as it is high. With n columns of panels it is n^2 times
    # aspect / count as wide as high, so n is about sqrt(1.5 count / aspect); of the whole numbers
    # near it, one is better that leaves few places empty.
    ideal = float(np.sqrt(1.5 * count / aspect))

    def unfit(columns: int) -> float:
        empty = -(-count // columns) * columns - count
        return abs(float(np.log(columns / ideal))) + 2 * empty / count

    return min(range(1, count + 1), key=unfit)


def _row_height(num_rows: int) -> float:
    """Choose how high a row is: where there are few, they have more room."""
    return _between(7 / num_rows, 0.21, 0.36)


def _room_for_names(cells: Cells) -> float:
    """Estimate the inches that names above and below a grid take."""
    above = max(map(len, cells.positions))
    below = max(map(len, cells.tokens))
    return 0.75 + 0.065 * above + 0.075 * min(below, 30)


def _between(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
