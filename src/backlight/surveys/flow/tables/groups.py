"""Sums over groups of passages of the tables' columns, for comparisons."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from backlight.stats.groups import RatioGroups
from backlight.surveys.driver.results.findings import groups_file
from backlight.surveys.flow.measure.attention import AttentionView
from backlight.surveys.flow.measure.norms import NormView
from backlight.surveys.flow.measure.residual import ResidualView
from backlight.surveys.flow.measure.survey import Flow
from backlight.surveys.flow.tables.attention import head_column
from backlight.surveys.flow.tables.norms import norm_column
from backlight.surveys.flow.tables.residual import depth_column, path_column

Arrays = dict[str, NDArray[np.floating]]


def group_files(state: Flow) -> dict[str, Arrays]:
    """Write what comparisons pair: every column that has a standard error is a ratio of sums.

    Args:
        state: What was measured.

    Returns:
        By file, one for each table: ``{column}/above`` and ``{column}/below``, ``[64, rows]`` in
        the order of the table's rows; ``below`` is ``[64, 1]`` where it is the same for all. Of a
        column that is the root of the ratio, ``{column}/square`` stands for ``above``.
    """
    return {
        groups_file(table): _arrays(groups, column_of)
        for table, groups, column_of in _tables(state)
    }


def _tables(
    state: Flow,
) -> Iterator[tuple[str, RatioGroups, Callable[[str], tuple[str, bool]]]]:
    for view in state.views.values():
        if isinstance(view, NormView):
            yield "norms", view.passage_groups, norm_column
        elif isinstance(view, AttentionView):
            yield "attention", view.passage_groups, head_column
        elif isinstance(view, ResidualView):
            yield "residual", view.passage_groups, path_column
            yield "depth", view.depth.passage_groups, depth_column


def _arrays(groups: RatioGroups, column_of: Callable[[str], tuple[str, bool]]) -> Arrays:
    arrays = Arrays()
    for name, sums in groups.result().items():
        column, is_root = column_of(name)
        arrays[f"{column}/{'square' if is_root else 'above'}"] = sums.above
        arrays[f"{column}/below"] = sums.below
    return arrays
