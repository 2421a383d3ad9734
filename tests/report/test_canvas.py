import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure

from backlight.report.canvas import Canvas, Words

DPI, SIZE = 110, (440, 330)
TEXTS = {
    "word": {"s": "gradient (nats/unit)"},
    "upright": {"s": "layer", "rotation": 90},
    "turned": {"s": "turned", "rotation": 30, "alpha": 0.5},
    "formula": {"s": "$10^{-3}$"},
    "lines": {"s": "two\nlines"},
    "red": {"s": "red", "color": "#c53030", "fontsize": 20},
    "too long": {"s": "long " * 120},
}


def figure_of(**look):
    figure = Figure(figsize=(4, 3), dpi=DPI)
    # At whole pixels, where words that are kept are painted too.
    figure.text(200 / SIZE[0], 165 / SIZE[1], **look)
    return figure


def painted(figure, canvas):
    canvas.clear()
    figure.draw(canvas)
    return np.asarray(canvas.buffer_rgba())[:, :, :3].astype(int)


def ink(pixels):
    return (255 - pixels).sum(axis=2)


@pytest.mark.parametrize("name", TEXTS)
def test_words_look_as_matplotlib_paints_them(name):
    figure = figure_of(**TEXTS[name])
    plain = painted(figure, RendererAgg(*SIZE, DPI))

    kept = painted(figure, Canvas(*SIZE, DPI, Words(DPI)))

    # Words are moved by less than a pixel: they have as much ink, in the same places.
    assert np.abs(plain - 255).sum() > 10_000
    assert ink(kept).sum() == pytest.approx(ink(plain).sum(), rel=0.05)
    for axis in (0, 1):
        one, other = (ink(each).sum(axis=axis).nonzero()[0] for each in (plain, kept))
        assert np.abs(one[[0, -1]] - other[[0, -1]]).max() <= 1
    blurred = [ink(each)[:320].reshape(32, 10, 44, 10).sum(axis=(1, 3)) for each in (plain, kept)]
    assert np.abs(blurred[0] - blurred[1]).sum() < 0.3 * blurred[0].sum()


def test_pixels_do_not_depend_on_what_was_painted_before():
    words = Words(DPI)
    canvas = Canvas(*SIZE, DPI, words)
    alone = {
        name: painted(figure_of(**look), Canvas(*SIZE, DPI, Words(DPI)))
        for name, look in TEXTS.items()
    }

    for name in [*TEXTS, *reversed(TEXTS)]:
        np.testing.assert_array_equal(painted(figure_of(**TEXTS[name]), canvas), alone[name])


def test_words_that_come_again_are_painted_once(monkeypatch):
    canvas, calls = Canvas(*SIZE, DPI, Words(DPI)), []
    real = RendererAgg.draw_text

    def counted(self, gc, x, y, s, *args, **options):
        calls.append(s)
        return real(self, gc, x, y, s, *args, **options)

    monkeypatch.setattr(RendererAgg, "draw_text", counted)
    for _ in range(3):
        painted(figure_of(s="again"), canvas)

    assert calls == ["again"]


def test_words_stay_within_the_panel_that_cuts_them_off():
    figure = Figure(figsize=(4, 3), dpi=DPI)
    axes = figure.add_axes((0.25, 0.25, 0.5, 0.5))
    axes.set_axis_off()
    axes.text(0.9, 0.5, "cut off at the edge", clip_on=True)

    pixels = painted(figure, Canvas(*SIZE, DPI, Words(DPI)))

    assert (pixels[:, 300:330] < 200).any()
    assert (pixels[:, 331:] == 255).all()
