from matplotlib.figure import Figure


def draw(results):
    figure = Figure()
    figure.subplots().bar(["mean length"], results.tables["toy"]["mean_length"])
    yield "toy.png", figure
