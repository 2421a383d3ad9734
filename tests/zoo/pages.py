"""A page with every kind of view, of few numbers that tests can tell."""

import numpy as np

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
    Page,
    Paragraph,
    Places,
    Prose,
    Rows,
    Scatter,
    Series,
    Statistic,
)
from backlight.tables import Table

__all__ = ["every_view"]


def every_view(word="light", *, unit="dimension", color="distance"):
    """Make a page of all views.

    Args:
        word: A text that stands wherever a stranger's text may stand.
        unit: What a point of the cloud is.
        color: What the points of the scatter plot are coloured by.
    """
    return Page(
        title=f"A page about {word}",
        summary=[f"What was asked of {word}.", "What was found.", "Where it went."],
        views=[
            lines(word),
            cloud(word, unit=unit),
            cells(word),
            scatter(word, color=color),
            diagram(word),
            rows(word),
            prose(word),
        ],
        facts={"model": word, "commit": "0123456"},
        commands={"Again": f"backlight layers --model_name {word}"},
    )


def lines(word):
    """Two charts, the first with two series, a band, a dashed line and a level."""
    depth = np.arange(6.0)
    norm = 2.0**-depth
    return Lines(
        title="Depth profile",
        note=f"Bands are intervals of {word}.",
        charts=[
            LineChart(
                x="layer",
                y=f"norm ({word})",
                series=[
                    Series(name="measured", x=depth, y=norm, low=0.8 * norm, high=1.2 * norm),
                    Series(name=word, x=depth, y=1.5 * norm, dashed=True),
                ],
                scales=("linear", "log"),
                levels={f"chance {word}": 0.25},
            ),
            LineChart(
                title=word,
                x="place",
                y="cosine",
                series=[Series(x=np.arange(3.0), y=np.array([-0.5, np.nan, 0.75]))],
                categories=[word, "middle", "end"],
            ),
        ],
    )


def cloud(word, *, unit="dimension", width=4_000):
    """Three layers; dimension 7 of layer 2 stands out, and has occurrences and a link."""
    random = np.random.default_rng(0)
    layers = [0, 2, 5]
    mean = {layer: random.normal(0, 1e-3 * (layer + 1), width) for layer in layers}
    mean[2][7] = 0.5
    size = {layer: np.abs(values) for layer, values in mean.items()}
    size[5][11] = 0.25
    error = {layer: np.full(width, 1e-4) for layer in layers}
    found = [
        Occurrence(value=0.25, context=f"before «{word}» after", where="passage 3, position 9"),
        Occurrence(value=-0.125, context=f"«{word}» begins", where="passage 1, position 0"),
    ]
    return Cloud(
        title=f"Every {unit}",
        unit=unit,
        layers=layers,
        statistics=[
            Statistic(name="mean", label="mean (nats/unit)", values=mean, error="mean_se"),
            Statistic(name="mean_abs", label=f"size of {word}", values=size),
            Statistic(name="mean_se", label="standard error", values=error),
        ],
        occurrences={2: {7: found}},
        links={2: {7: "https://www.neuronpedia.org/a-model/a-source/7"}},
    )


def cells(word):
    """Two statistics and two prompts; some cells have no colour, for a reason."""
    random = np.random.default_rng(1)
    tokens = ["dist", word, "(", ")", "="]
    shown = {}
    for statistic, label in enumerate(["gradient norm (nats/unit)", "gradient x activation"]):
        for prompt in range(2):
            values = random.gamma(2, 0.1, (3, 5)) + prompt
            marks = np.zeros((3, 5), dtype=np.int64)
            values[2, :4], marks[2, :4] = np.nan, 1
            shown[statistic, prompt] = Cells(
                values=-values if statistic else values,
                label=label,
                scale="signed" if statistic else "log",
                columns=tokens,
                names=["task", "city", "open", "close", "equals"],
                marks=marks,
                errors=None if statistic else values / 10,
            )
    return CellMap(
        title="Where the gradient sits",
        note=f"Each row is a layer of {word}.",
        rows=["layer 0", "layer 1", "layer 2"],
        row_label="layer",
        column_label="token",
        choices=[
            Choice(label="statistic", options=["gradient norm", "gradient x activation"]),
            Choice(label="prompt", options=["mean of all", f"1: {word}"]),
        ],
        maps=shown,
        reasons=["zero by causality"],
    )


def scatter(word, *, color="distance"):
    """Twenty prompts in two planes."""
    random = np.random.default_rng(2)
    count = 20
    texts = [f"dist {number} {word} =" for number in range(count)]
    return Scatter(
        title="Each prompt is a point",
        texts=texts,
        choices=[Choice(label="site", options=["layer 0", word])],
        planes={
            (place,): Places(
                x=random.normal(size=count),
                y=random.normal(size=count),
                x_label="PC1 (60 %)",
                y_label="PC2 (20 %)",
                points=np.arange(count),
            )
            for place in range(2)
        },
        colourings=[
            Colouring(label=color, values=[float(number) for number in range(count)]),
            Colouring(label="region", values=["north", word] * (count // 2)),
        ],
    )


def diagram(word):
    """A square that tells what it is, a line and a text."""
    square = np.array([[40.0, 40], [160, 40], [160, 160], [40, 160]])
    return Diagram(
        title="How it flows",
        width=400,
        height=200,
        shapes=[
            Shape(kind="polygon", points=square, paint="first", told=f"attention of {word}: 0.42"),
            Shape(kind="line", points=np.array([[160.0, 100], [360, 100]]), width=3),
            Shape(kind="text", points=np.array([[200.0, 190]]), width=14, text=f"says {word}"),
        ],
    )


def rows(word):
    """Forty rows; the largest norm is in row 23, and one token is a stranger's."""
    norm = np.array([((7 * place) % 40) / 8 for place in range(40)])
    token = np.array(
        [word if place == 23 else f"token{place}" for place in range(40)], dtype=object
    )
    norm[23], norm[5] = 9.5, np.nan
    return Rows(
        title="The largest",
        table=Table(
            name="top",
            columns={"layer": np.arange(40) % 4, "norm": norm, "token": token},
            units={"norm": "nats"},
        ),
    )


def prose(word):
    """A paragraph with a mark."""
    return Prose(
        title=f"What {word} means",
        paragraphs=[Paragraph(label="Seen:", text=f"It was {word}.")],
        mark="odd",
    )
