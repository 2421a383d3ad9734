"""Figures laid out with their text."""

from backlight.report.layout import figure_with_text


def test_a_notebook_displays_a_figure_without_pyplot():
    figure = figure_with_text(3, 2, title="What is shown", caption=["How to read it."])
    figure.subplots().plot([0, 1])

    assert figure._repr_png_().startswith(b"\x89PNG")
