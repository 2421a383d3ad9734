"""What a page can show, as plain data: the page's own script draws it when it is looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backlight.tables import Table

Numbers = NDArray[np.float64]
Tone = Literal["good", "bad", "odd"]
Scale = Literal["linear", "log", "signed"]
"""``signed`` is linear around zero and logarithmic beyond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One section of a page.

    Attributes:
        title: Its heading.
        note: The sentences that say how to read it.
    """

    title: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line, or one row of points, in a chart.

    Attributes:
        name: What a legend calls it; empty for a chart of one series.
        x: Where its points are along; places in ``LineChart.categories`` if there are any.
        y: Where they are up; NaN where there is none.
        low: The lower ends of intervals; None for none.
        high: The upper ends; None for none.
        dashed: It is drawn dashed, in the colour of the line before it: what theory says of that,
            or what chance gives.
        joined: Its points are joined to a line.
    """

    name: str = ""
    x: Numbers
    y: Numbers
    low: Numbers | None = None
    high: Numbers | None = None
    dashed: bool = False
    joined: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """One pair of axes with lines.

    Attributes:
        title: What stands above; empty for nothing.
        x: The label of the axis along, with its unit.
        y: The label of the axis up, with its unit.
        series: The lines.
        scales: How the two axes are scaled.
        categories: What stands along the axis instead of numbers; empty for numbers.
        levels: Heights of lines across, by what they are.
        marks: Places of lines up, by what they are.
    """

    title: str = ""
    x: str
    y: str
    series: Sequence[Series]
    scales: tuple[Scale, Scale] = ("linear", "linear")
    categories: Sequence[str] = ()
    levels: Mapping[str, float] = field(default_factory=dict[str, float])
    marks: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines(View):
    """Charts side by side, such as the depth profile of each statistic.

    Attributes:
        charts: The charts.
    """

    charts: Sequence[LineChart]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """One number of every dimension or feature of every layer.

    Attributes:
        name: By which other statistics and contexts mean it.
        label: What it is called, with its unit.
        values: The numbers of each layer; NaN where it is not known.
        error: The name of the statistic that is its standard error; empty for none.
    """

    name: str
    label: str
    values: Mapping[int, Numbers]
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """A token at which a dimension or feature mattered.

    Attributes:
        value: How much.
        context: The token in guillemets, with what stands around it.
        where: The passage and position, in words.
    """

    value: float
    context: str
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud(View):
    """Every dimension or feature of every layer as a point; choose the layer and the statistic.

    Attributes:
        unit: What a point is: ``dimension`` or ``feature``.
        layers: The layers, in their order.
        statistics: What can be chosen; errors are among them. The first one is shown first.
        occurrences: For each layer and number, the tokens where it mattered most.
        links: For each layer and number, a page of ``https://www.neuronpedia.org``.
    """

    unit: str
    layers: Sequence[int]
    statistics: Sequence[Statistic]
    occurrences: Mapping[int, Mapping[int, Sequence[Occurrence]]] = field(
        default_factory=dict[int, Mapping[int, Sequence[Occurrence]]]
    )
    links: Mapping[int, Mapping[int, str]] = field(default_factory=dict[int, Mapping[int, str]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What can be chosen above a view.

    Attributes:
        label: What is chosen, such as ``statistic`` or ``prompt``.
        options: What it can be.
    """

    label: str
    options: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """One map of coloured cells.

    Attributes:
        values: The numbers, ``[rows, columns]``; NaN where there is none.
        label: What they are, with their unit.
        scale: How they are coloured: ``signed`` has two colours around zero.
        columns: What stands below each column, such as its token.
        names: What each column is called, such as its position; empty for nothing.
        marks: For cells without colour, which of ``CellMap.reasons`` it is (from 1), ``[rows,
            columns]``; 0 for coloured cells, and for those with a dot minus the reason for it.
            None if all are coloured and plain.
        errors: Standard errors, ``[rows, columns]``; None if they are not known.
    """

    values: Numbers
    label: str
    scale: Scale
    columns: Sequence[str]
    names: Sequence[str] = ()
    marks: NDArray[np.int64] | None = None
    errors: Numbers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMap(View):
    """Maps of cells, one at a time: layers x tokens, layers x heads, modules x steps.

    Attributes:
        rows: What each row is called, from bottom to top.
        row_label: What rows are, such as ``layer``.
        column_label: What columns are, such as ``token of the input``.
        choices: What can be chosen; a map for each combination that there is.
        maps: The maps, by the place of each choice's option.
        reasons: Why cells may have no colour, or a dot, in words.
    """

    rows: Sequence[str]
    row_label: str
    column_label: str
    choices: Sequence[Choice]
    maps: Mapping[tuple[int, ...], Cells]
    reasons: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where points are in one plane.

    Attributes:
        x: Along.
        y: Up.
        x_label: What is along.
        y_label: What is up.
        points: Which of ``Scatter.texts`` each point is.
    """

    x: Numbers
    y: Numbers
    x_label: str
    y_label: str
    points: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Colouring:
    """What colours of points stand for.

    Attributes:
        label: What it is, such as ``distance``.
        values: A number or a word for each of ``Scatter.texts``.
    """

    label: str
    values: Sequence[float] | Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter(View):
    """Points in planes, one plane at a time, such as each prompt by two principal components.

    Attributes:
        texts: What each point is, such as the text of its prompt.
        choices: What can be chosen; a plane for each combination that there is.
        planes: The planes, by the place of each choice's option.
        colourings: What points can be coloured by; the first one is shown first.
    """

    texts: Sequence[str]
    choices: Sequence[Choice]
    planes: Mapping[tuple[int, ...], Places]
    colourings: Sequence[Colouring] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows(View):
    """A table that can be sorted and searched.

    Attributes:
        table: The table.
        columns: Which of its columns are shown, with what their headings say; all if empty.
        links: For some columns, where each row's cell leads: a path beside the page.
        pictures: A PNG for each row, empty for none; no pictures at all if there are none.
    """

    table: Table
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    links: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    pictures: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Some text, with a word in front of it.

    Attributes:
        label: The word, empty for none.
        text: The text.
    """

    label: str = ""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prose(View):
    """A heading with paragraphs.

    Attributes:
        paragraphs: The text.
        mark: A word on a coloured ground beside the heading, empty for none.
        tone: The colour of the mark.
    """

    paragraphs: Sequence[Paragraph]
    mark: str = ""
    tone: Tone = "odd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole page.

    Attributes:
        title: What it is about.
        summary: What was asked and found, in whole sentences.
        views: Its sections.
        facts: How it was made, by what each is called.
        commands: How to do it again, by what each does.
        mark: A word on a coloured ground beside the title, empty for none.
        tone: Its colour.
    """

    title: str
    summary: Sequence[str]
    views: Sequence[View]
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    commands: Mapping[str, str] = field(default_factory=dict[str, str])
    mark: str = ""
    tone: Tone = "good"
