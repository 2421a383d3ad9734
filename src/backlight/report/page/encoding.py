"""Views as JSON for the page's script: texts made plain, numbers in blocks."""

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.foreign.text import plain
from backlight.report.page.blocks import Blocks, Reference, are_many, number_in_json
from backlight.report.page.diagrams import Diagram, Shape
from backlight.report.page.views import (
    CellMap,
    Cells,
    Choice,
    Cloud,
    Colouring,
    LineChart,
    Lines,
    Occurrence,
    Places,
    Prose,
    Rows,
    Scatter,
    Series,
    View,
)

Encoded = dict[str, Any]

_SHEET = 1000  # the width of a diagram, as the page's script has it
_UNKNOWN = "soft"
_HUES = ("first", "second", "third", "fourth", "fifth", "sixth")
_STEPS = 65  # of a palette, with one in the middle
_SIGNS = (
    *("#053061", "#2f79b5", "#7bb6d6", "#c9e0ed", "#f7f7f7"),
    *("#fbd0b9", "#ec8f6f", "#ba2832", "#67001f"),
)
_SHADES = (
    *("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c"),
    *("#28ae80", "#5ec962", "#addc30", "#fde725"),
)


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
    del blocks
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
        "links": [_texts_by_number(view.links.get(layer), plain, blocks) for layer in view.layers],
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
    colouring = Choice(label="Colour", options=[each.label for each in view.colourings])
    colours = range(max(1, len(view.colourings)))
    return {
        "kind": "scatter",
        "texts": blocks.texts(_plain(view.texts)),
        "choices": _choices([*view.choices, colouring]),
        "planes": {
            _key((*place, colour)): [sheet, colour]
            for sheet, place in enumerate(view.planes)
            for colour in colours
        },
        "sheets": [_places(plane, blocks) for plane in view.planes.values()],
        "colourings": [_colouring(each) for each in view.colourings],
    }


@encode.register
def _(view: Diagram, blocks: Blocks) -> Encoded:
    del blocks  # a diagram has few shapes
    scale = _SHEET / view.width
    telling = [shape for shape in view.shapes if shape.told]
    ends = [(each.points.min(axis=0), each.points.max(axis=0)) for each in telling]
    middles = scale * np.array(ends).reshape(-1, 2, 2).mean(axis=1)
    return {
        "kind": "diagram",
        "label": plain(view.title),
        "aspect": view.height / view.width,
        "width": view.width,
        "shapes": [_shape(shape, scale) for shape in view.shapes],
        "x": middles[:, 0].round(1).tolist(),
        "y": middles[:, 1].round(1).tolist(),
        "told": [plain(each.told, lines=True) for each in telling],
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
        "marks": [[plain(name), float(place)] for name, place in chart.marks.items()],
        "series": [
            {**_series(series, blocks), **look}
            for series, look in zip(chart.series, _looks(chart.series), strict=True)
        ],
    }


def _looks(all_series: Sequence[Series]) -> Iterator[Encoded]:
    """Choose colours: a dashed line has that of the line before it, many have shades in order."""
    solid = sum(not series.dashed for series in all_series)
    is_only, before = len(all_series) - solid < 2, -1
    for series in all_series:
        before += not series.dashed
        place = max(before, 0)
        is_many = solid > len(_HUES)
        yield {
            "paint": _shade(0.15 + 0.75 * place / (solid - 1)) if is_many else _HUES[place],
            "legend": plain(series.name) if is_only or not series.dashed else "",
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
    return [
        [_value(each.value), plain(each.where), *_divided(plain(each.context))] for each in found
    ]


def _divided(context: str) -> tuple[str, str, str]:
    """Divide a context into what stands before, in and behind its guillemets."""
    before, _, rest = context.partition("«")
    token, _, after = rest.rpartition("»")
    return before, token, after


def _cells(cells: Cells, blocks: Blocks) -> Encoded:
    return {
        "label": plain(cells.label),
        "scale": cells.scale,
        "palette": _palette(_SIGNS if cells.scale == "signed" else _SHADES),
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


def _shape(shape: Shape, scale: float) -> Encoded:
    return {
        "kind": shape.kind,
        "points": (scale * np.ravel(shape.points)).round(1).tolist(),
        "paint": shape.paint,
        "opacity": shape.opacity,
        "width": round(scale * shape.width, 2),
        "text": plain(shape.text),
        "align": shape.align,
    }


def _colouring(colouring: Colouring) -> Encoded:
    """Choose a colour for each point: a hue for each word, or a shade for each number."""
    told = [_told(value) for value in colouring.values]
    if any(isinstance(value, str) for value in colouring.values):
        colours, legend = _by_word(told)
    else:
        colours, legend = _by_size(np.array(colouring.values, dtype=np.float64))
    return {"label": plain(colouring.label), "colours": colours, "legend": legend, "told": told}


def _by_word(words: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    frequent = [word for word, _ in Counter(words).most_common(len(_HUES))]
    hues = dict(zip(frequent, _HUES, strict=False))
    rest = [("other", _UNKNOWN)] if len(set(words)) > len(hues) else []
    return [hues.get(word, _UNKNOWN) for word in words], [*hues.items(), *rest]


def _by_size(sizes: NDArray[np.float64]) -> tuple[list[str], list[tuple[str, str]]]:
    known = sizes[np.isfinite(sizes)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    parts = (sizes - low) / ((high - low) or 1.0)
    colours = [_shade(float(part)) if np.isfinite(part) else _UNKNOWN for part in parts]
    return colours, [(_told(low + part * (high - low)), _shade(part)) for part in (0.0, 0.5, 1.0)]


def _palette(stops: Sequence[str]) -> list[str]:
    return [_shade(step / (_STEPS - 1), stops) for step in range(_STEPS)]


def _shade(part: float, stops: Sequence[str] = _SHADES) -> str:
    """Mix a colour of a map that is known at even steps."""
    place = min(max(part, 0.0), 1.0) * (len(stops) - 1)
    first = min(int(place), len(stops) - 2)
    ends = [[int(stops[first + k][i : i + 2], 16) for i in (1, 3, 5)] for k in (0, 1)]
    mixed = (round(a + (b - a) * (place - first)) for a, b in zip(*ends, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)


def _told(value: float | str) -> str:
    return plain(value) if isinstance(value, str) else f"{value:.4g}"


def _choices(choices: Sequence[Choice]) -> list[Encoded]:
    return [{"label": plain(each.label), "options": _plain(each.options)} for each in choices]


def _key(place: tuple[int, ...]) -> str:
    return "/".join(map(str, place))


def _plain(texts: Sequence[str]) -> list[str]:
    return [plain(text) for text in texts]


def _value(value: Any) -> Any:
    if isinstance(value, float):
        return number_in_json(value)
    return value if isinstance(value, int) else plain(value)


def _picture(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
