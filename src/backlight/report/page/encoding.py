"""Views as JSON for the page's script: texts made plain, numbers in blocks."""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import base64
import math

import numpy as np
from numpy.typing import NDArray

from backlight.foreign.text import plain
from backlight.report.page.blocks import Blocks, Reference, are_many
from backlight.report.page.views import (
    CellMap,
    Cells,
    Choice,
    Cloud,
    Drawing,
    LineChart,
    Lines,
    Occurrence,
    Places,
    Prose,
    Rows,
    Scatter,
    Series,
    Shape,
    View,
)

Encoded = dict[str, Any]


@singledispatch
def encode(view: View, blocks: Blocks) -> Encoded:
    """Write a view for the page's script.

    Args:
        view: The view.
        blocks: Where its numbers and texts go.

    Returns:
        What JSON can hold; ``kind`` names what draws it.

    Raises:
        TypeError: If nothing draws such a view.
    """
    raise TypeError(f"no page can show a {type(view).__name__}")


@encode.register
def _(view: Prose, blocks: Blocks) -> Encoded:
    del view, blocks  # it is all text, which stands in the page itself
    return {"kind": "prose"}


@encode.register
def _(view: Lines, blocks: Blocks) -> Encoded:
    return {"kind": "lines", "charts": [_chart(chart, blocks) for chart in view.charts]}


@encode.register
def _(view: Cloud, blocks: Blocks) -> Encoded:
    return {
        "kind": "cloud",
        "unit": plain(view.unit),
        "layers": list(view.layers),
        "statistics": [
            {
                "name": each.name,
                "label": plain(each.label),
                "error": each.error,
                "values": _by_layer(each.values, view.layers, blocks),
            }
            for each in view.statistics
        ],
        "occurrences": [
            _texts_by_number(view.occurrences.get(layer), _occurrences, blocks)
            for layer in view.layers
        ],
        "links": [
            _texts_by_number(view.links.get(layer), plain, blocks) for layer in view.layers
        ],
    }


@encode.register
def _(view: CellMap, blocks: Blocks) -> Encoded:
    return {
        "kind": "cells",
        "rows": _plain(view.rows),
        "rowLabel": plain(view.row_label),
        "columnLabel": plain(view.column_label),
        "choices": _choices(view.choices),
        "maps": {_key(place): _cells(cells, blocks) for place, cells in view.maps.items()},
        "reasons": _plain(view.reasons),
    }


@encode.register
def _(view: Scatter, blocks: Blocks) -> Encoded:
    return {
        "kind": "scatter",
        "texts": blocks.texts(_plain(view.texts)),
        "choices": _choices(view.choices),
        "planes": {_key(place): _places(plane, blocks) for place, plane in view.planes.items()},
        "colourings": [
            {"label": plain(each.label), "values": [_value(value) for value in each.values]}
            for each in view.colourings
        ],
    }


@encode.register
def _(view: Drawing, blocks: Blocks) -> Encoded:
    del blocks  # a drawing has few shapes
    return {
        "kind": "drawing",
        "width": view.width,
        "height": view.height,
        "shapes": [_shape(shape) for shape in view.shapes],
    }


@encode.register
def _(view: Rows, blocks: Blocks) -> Encoded:
    shown = view.columns or {name: view.table.label(name) for name in view.table}
    rows = [[_value(cell) for cell in view.table[name].tolist()] for name in shown]
    return {
        "kind": "rows",
        "columns": [
            {"label": plain(label), "links": _plain(view.links.get(name, ()))}
            for name, label in shown.items()
        ],
        "cells": blocks.texts(rows),
        "pictures": [_picture(content) for content in view.pictures],
    }


def _chart(chart: LineChart, blocks: Blocks) -> Encoded:
    return {
        "title": plain(chart.title),
        "x": plain(chart.x),
        "y": plain(chart.y),
        "scales": list(chart.scales),
        "categories": _plain(chart.categories),
        "levels": [[plain(name), float(height)] for name, height in chart.levels.items()],
        "series": [_series(series, blocks) for series in chart.series],
    }


def _series(series: Series, blocks: Blocks) -> Encoded:
    ends = {"low": series.low, "high": series.high}
    return {
        "name": plain(series.name),
        "dashed": series.dashed,
        "joined": series.joined,
        "x": blocks.numbers(series.x),
        "y": blocks.numbers(series.y),
        **{end: blocks.numbers(values) for end, values in ends.items() if values is not None},
    }


def _by_layer(
    values: Mapping[int, NDArray[np.float64]], layers: Sequence[int], blocks: Blocks
) -> list[Reference]:
    briefly = are_many(sum(len(each) for each in values.values()))
    return [blocks.numbers(values[layer], briefly=briefly) for layer in layers]


def _texts_by_number(found: Mapping[int, Any] | None, write: Any, blocks: Blocks) -> Any:
    if not found:
        return None
    return blocks.texts({str(number): write(each) for number, each in found.items()})


def _occurrences(found: Sequence[Occurrence]) -> list[Any]:
    return [[_value(each.value), plain(each.context), plain(each.where)] for each in found]


def _cells(cells: Cells, blocks: Blocks) -> Encoded:
    return {
        "label": plain(cells.label),
        "scale": cells.scale,
        "columns": _plain(cells.columns),
        "names": _plain(cells.names),
        "values": blocks.numbers(cells.values),
        "marks": None if cells.marks is None else blocks.numbers(cells.marks),
        "errors": None if cells.errors is None else blocks.numbers(cells.errors),
    }


def _places(plane: Places, blocks: Blocks) -> Encoded:
    return {
        "xLabel": plain(plane.x_label),
        "yLabel": plain(plane.y_label),
        "x": blocks.numbers(plane.x),
        "y": blocks.numbers(plane.y),
        "points": blocks.numbers(plane.points),
    }


def _shape(shape: Shape) -> Encoded:
    return {
        "kind": shape.kind,
        "points": [round(float(value), 2) for value in np.ravel(shape.points)],
        "paint": shape.paint,
        "opacity": shape.opacity,
        "width": shape.width,
        "text": plain(shape.text),
        "align": shape.align,
        "told": plain(shape.told, lines=True),
    }


def _choices(choices: Sequence[Choice]) -> list[Encoded]:
    return [{"label": plain(each.label), "options": _plain(each.options)} for each in choices]


def _key(place: tuple[int, ...]) -> str:
    return "/".join(map(str, place))


def _plain(texts: Sequence[str]) -> list[str]:
    return [plain(text) for text in texts]


def _value(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value if isinstance(value, int) else plain(value)


def _picture(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
