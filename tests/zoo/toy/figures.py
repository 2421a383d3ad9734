from matplotlib.figure import Figure

from backlight.report.drawing import Drawing


def draw(results):
    def make():
        (figure := Figure()).subplots().bar(["mean length"], results.tables["toy"]["mean_length"])
        return figure

    yield Drawing(name="toy.png", make=make)
