"""Maps of layers and tokens: means over all prompts, and single prompts to step through."""

from collections.abc import Iterator, Sequence

import numpy as np

from backlight.errors import shorten
from backlight.report.page.views import CellMap, Cells, Choice
from backlight.surveys.tokens.labels import explain_labels
from backlight.surveys.tokens.page.grids import MEASURES, REASONS, Grid, grids_of
from backlight.surveys.tokens.shown import Shown

_MEASURES = {
    "gradient_norm": "norm of the gradient",
    "grad_x_act": "gradient x activation",
    "activation_norm": "norm of the activation",
}
_MEANINGS = (
    "Norm of the gradient: how much the objective changes, to first order, if the vector at this "
    "place is moved by one unit in the direction in which it changes most. Gradient x activation: "
    "how much of the objective would be lost, to first order, if the vector were shrunk to zero; "
    "below zero, the vector lowers the objective."
)
_STRUCTURAL = (
    "Hatched: zero by causality, whatever the weights. From these places nothing reaches the "
    "objective: no attention follows that could carry it to where the answer is predicted."
)
_QUERIES = "At the first token a query sees one key only, over which softmax is constant."
_LONGEST = 70  # letters of a prompt in a menu
_MOST, _FIRST = 200, 100  # prompts to choose from; if there are more, so many
_ROOM = 2_200_000  # bytes of a page for single prompts
_BYTES = (11, 26, 250)  # that a cell, a column and a map take, about


def map_views(shown: Shown) -> Iterator[CellMap]:
    """Show what was measured at each layer and token.

    Args:
        shown: The run.

    Yields:
        A map with the kinds of sites that have the same layers, and one for each other kind.
    """
    by_rows: dict[tuple[str, ...], list[Grid]] = {}
    for grid in grids_of(shown):
        by_rows.setdefault(tuple(grid.rows), []).append(grid)
    for number, grids in enumerate(by_rows.values()):
        kinds = ", ".join(grid.name for grid in grids if grid.head is None)
        title = f"Where the gradient is, by layer and token{f': {kinds}' * (len(by_rows) > 1)}"
        yield _map_of(shown, grids, title, _MEANINGS if number == 0 else "")


def _map_of(shown: Shown, grids: Sequence[Grid], title: str, meanings: str) -> CellMap:
    prompts, has_heads = _fitting(shown, grids)
    maps: dict[tuple[int, ...], Cells] = {}
    for place, grid in enumerate(grids):
        for number, measure in enumerate(MEASURES):
            maps[place, number, 0] = grid.means(measure)
            for prompt in range(prompts if has_heads or grid.head is None else 0):
                maps[place, number, prompt + 1] = grid.single(measure, prompt)
    told = _note(shown, grids, prompts, has_heads=has_heads)
    return CellMap(
        title=title,
        note=" ".join(filter(None, (meanings, *told))),
        rows=grids[0].rows,
        row_label="layer" if not np.isnan(grids[0].table["layer"]).any() else "site",
        column_label="token of prompt and answer",
        choices=[
            Choice(label="Site", options=[grid.name for grid in grids]),
            Choice(label="Measure", options=[_MEASURES[measure] for measure in MEASURES]),
            Choice(label="Prompt", options=[_of_all(shown), *_titles(shown, prompts)]),
        ],
        maps=maps,
        reasons=REASONS,
    )


def _fitting(shown: Shown, grids: Sequence[Grid]) -> tuple[int, bool]:
    """Choose how many prompts can be stepped through, and whether head by head as well."""
    count = shown.prompts.num_rows
    wanted = count if count <= _MOST else _FIRST
    if _size(grids) * wanted <= _ROOM:
        return wanted, True
    whole = [grid for grid in grids if grid.head is None]
    return max(1, min(wanted, _ROOM // _size(whole))), len(whole) == len(grids)


def _size(grids: Sequence[Grid]) -> int:
    cell, column, each = _BYTES
    return len(MEASURES) * sum(
        cell * grid.table.num_rows + column * grid.width + each for grid in grids
    )


def _of_all(shown: Shown) -> str:
    count = shown.prompts.num_rows
    return f"mean over {count:,} prompts" if count > 1 else "the only prompt, with names of fields"


def _titles(shown: Shown, count: int) -> list[str]:
    texts, answers = (shown.prompts[name][:count] for name in ("text", "answer"))
    return [
        f"{number}: {shorten(f'{text} → {str(answer).strip()}', _LONGEST)}"
        for number, (text, answer) in enumerate(zip(texts, answers, strict=True))
    ]


def _note(shown: Shown, grids: Sequence[Grid], prompts: int, *, has_heads: bool) -> Iterator[str]:
    yield (
        "The first layer is at the bottom, the answer at the right; point at a cell for its number "
        "and standard error."
    )
    blocked = [grid.column("num_reaching") == 0 for grid in grids]
    if any(each.any() for each in blocked):
        yield _STRUCTURAL
    if any((each[:, :1] & ~each[:, 1:2]).any() for each in _of_queries(grids, blocked)):
        yield _QUERIES
    yield from explain_labels(grids[0].table, shown.prompts.num_rows)
    if prompts < shown.prompts.num_rows:
        yield (
            f"The first {prompts:,} of {shown.prompts.num_rows:,} prompts can be chosen here; all "
            "are in the run's arrays (consolidated_results.npz)."
        )
    if not has_heads:
        yield "Single heads are shown as means only; those of each prompt are in the run's arrays."


def _of_queries(grids: Sequence[Grid], blocked: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [
        where for grid, where in zip(grids, blocked, strict=True) if grid.kind.startswith("attn.q")
    ]
