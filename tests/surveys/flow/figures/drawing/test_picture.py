import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import PathPatch

from backlight.report.rendering import rendered
from backlight.report.scales import brief
from backlight.surveys.flow.drawn.paths import Paths, Strength
from backlight.surveys.flow.figures.drawing.colours import colours
from backlight.surveys.flow.figures.drawing.picture import STREAM, draw_picture
from zoo.figures import caption
from zoo.flow_results import flow_results

SVG = "{http://www.w3.org/2000/svg}"


def tables_of(**options):
    tables = flow_results(("residual",), **options).tables
    return tables["depth"], tables["residual"], tables["depth_slope"]


def drawn(**options):
    return draw_picture(*tables_of(**options), subtitle="tiny")


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def loops(figure):
    return {patch.get_gid(): patch for patch in figure.axes[0].patches if is_loop(patch)}


def is_loop(patch):
    return isinstance(patch, PathPatch) and patch.get_gid() is not None


def outline(patch):
    return patch.get_path().vertices


def stream(figure):
    (band,) = [each for each in figure.axes[0].collections if each.get_gid() == STREAM]
    return band


def test_there_is_a_loop_for_each_branch_that_was_looked_at():
    expected = {f"layers.{layer}.{half}" for layer in (0, 2) for half in ("attention", "mlp")}

    figure = drawn(num_layers=3, layers=(0, 2))

    assert set(loops(figure)) == expected
    assert "Layers without loops were not asked for." in caption(figure)
    assert "were not asked for" not in caption(drawn(num_layers=3))


def test_attention_is_above_the_stream_and_the_mlp_below():
    figure = drawn()
    middle = np.concatenate([path.vertices for path in stream(figure).get_paths()])[:, 1].mean()

    for name, patch in loops(figure).items():
        above = outline(patch)[:, 1] > middle
        assert above.all() if name.endswith("attention") else not above.any(), name


@pytest.mark.parametrize("range", [3.0, 1000.0], ids=["linear", "logarithmic"])
def test_colours_and_thicknesses_of_loops_are_the_norms_of_the_table(range):
    depth, residual, slopes = tables_of(range=range)
    figure = draw_picture(depth, residual, slopes, subtitle="tiny")
    scale = Paths.of(depth, residual).scale
    assert scale.is_log == (range > 10)

    thickness = []
    for layer, half, norm in zip(
        residual["layer"], residual["half"], residual["transform_norm"], strict=True
    ):
        patch = loops(figure)[f"layers.{layer}.{half}"]
        np.testing.assert_allclose(patch.get_facecolor(), to_rgba(colours(scale, norm)))
        points = outline(patch)
        across = abs(points[1, 0] - points[-3, 0])  # where the band leaves the stream
        thickness.append((across, max(float(scale.thickness(norm)), 0.06)))
    wide, expected = np.array(thickness).T
    thick = expected > 0.1
    ratios = wide[thick] / expected[thick]
    assert thick.sum() >= 3
    assert ratios.max() < 1.2 * ratios.min()


def test_the_stream_is_as_thick_at_each_depth_as_its_norm_says():
    depth, residual, slopes = tables_of(num_layers=4, range=1000.0)
    figure = draw_picture(depth, residual, slopes, subtitle="tiny")
    scale = Paths.of(depth, residual).scale
    corners = np.concatenate([path.vertices[:4] for path in stream(figure).get_paths()])
    left, right = corners[:, 0].min(), corners[:, 0].max()

    for place, norm in zip(depth["depth"], depth["gradient_norm"], strict=True):
        x = left + (right - left) * place / 4
        near = corners[np.abs(corners[:, 0] - x) < 1e-6]
        height = np.ptp(near[:, 1])
        np.testing.assert_allclose(height, 1.15 * scale.thickness(norm), rtol=1e-6)


def test_layers_are_numbered_and_norms_written_between_them():
    depth, residual, slopes = tables_of(num_layers=6)

    found = texts(draw_picture(depth, residual, slopes, subtitle="tiny"))

    assert found.count("layer") == found.count("embedding") == found.count("loss") == 1
    assert {str(layer) for layer in range(6)} <= set(found)
    assert {brief(norm) for norm in depth["gradient_norm"]} <= set(found)


def test_numbers_of_eighty_layers_leave_room_for_each_other():
    figure = drawn(num_layers=80, layers=(3,), range=1e-4)
    figure.canvas.draw()
    row = {}
    for text in figure.axes[0].texts:
        row.setdefault(round(text.get_position()[1], 3), []).append(text.get_window_extent())
    numbers = sorted(row.values(), key=len)[-2:]
    assert len(numbers[1]) == 81

    for boxes in numbers:
        boxes.sort(key=lambda box: box.x0)
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


def test_beads_tell_the_sign_of_the_cosine_only_where_it_is_sure():
    depth, residual, slopes = tables_of(num_layers=2)
    columns = dict(residual.columns)
    columns["cosine"] = np.array([0.4, -0.4, 0.1, -0.1])
    columns["cosine_se"] = np.array([0.1, 0.1, 0.1, 0.1])
    changed = type(residual)(name="residual", columns=columns, units=residual.units)

    found = texts(draw_picture(depth, changed, slopes, subtitle="tiny"))

    in_key = 2  # samples of each sign
    assert found.count("+") == 1 + in_key
    assert found.count("\u2212") == 1 + in_key


def test_of_one_sequence_no_bead_is_white_and_the_caption_says_why():
    figure = drawn(num_layers=1, num_sequences=1)

    assert "nothing is known of errors" in caption(figure)
    assert sum(text in ("+", "\u2212") for text in texts(figure)) == 2 + 4
    assert not any("95 %" in text for text in texts(figure))


def test_the_slope_is_told_as_a_factor_with_its_interval():
    (line,) = [text for text in texts(drawn(num_layers=2, range=100.0)) if "per layer" in text]

    numbers = [float(number) for number in re.findall(r"\d+\.\d+", line)]
    np.testing.assert_allclose(numbers, [10, 10 * np.exp(-0.01), 10 * np.exp(0.01)], rtol=1e-3)


def test_the_caption_says_how_thickness_grows():
    assert "Thickness grows with the norm itself." in caption(drawn(range=3.0))
    assert "Thickness grows with the logarithm of the norm" in caption(drawn(range=1000.0))


def test_loops_of_parallel_blocks_share_a_stretch_and_the_caption_says_so():
    figure = drawn(num_layers=2, parallel=True)

    sides = [loops(figure)[f"layers.1.{half}"] for half in ("attention", "mlp")]
    (one, other) = (np.ptp(outline(patch)[:, 0]) for patch in sides)
    assert set(loops(figure)) == {
        f"layers.{layer}.{half}" for layer in (0, 1) for half in ("attention", "mlp")
    }
    assert abs(one - other) < 0.3 * one
    assert "read the same stream" in caption(figure)


def test_text_of_the_drawing_is_text_and_paths_have_the_names_of_their_places():
    root = ET.fromstring(rendered("gradient_flow.svg", drawn(num_layers=2)))

    words = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    names = [element.get("id") for element in root.iter() if element.get("id")]
    assert {"embedding", "loss", "layer", "gradient norm", "0", "1"} <= set(words)
    assert "The gradient on its way back through the residual stream" in words
    assert {STREAM, "layers.0.attention", "layers.1.mlp"} <= set(names)
    assert len(names) == len(set(names))
    assert not any("DejaVu" in (name or "") for name in names)  # no letters drawn as paths


def test_nothing_is_drawn_outside_of_the_picture():
    for options in ({"num_layers": 1}, {"num_layers": 30}, {"num_layers": 7, "parallel": True}):
        figure = drawn(**options)
        figure.canvas.draw()
        whole = figure.bbox
        for text in [*figure.axes[0].texts, *figure.texts]:
            box = text.get_window_extent()
            inside = whole.x0 <= box.x0 and box.x1 <= whole.x1
            assert inside, text.get_text()
            assert whole.y0 <= box.y0, text.get_text()
            assert box.y1 <= whole.y1, text.get_text()


def test_a_scale_is_linear_for_norms_that_are_alike_and_logarithmic_for_others():
    alike = Strength.of(np.array([1.0, 4.0]), np.array([0.5]))
    apart = Strength.of(np.array([0.02, 4.0]), np.array([0.003]))

    np.testing.assert_allclose(alike.thickness(np.array([1.0, 2.0, 4.0])), [0.25, 0.5, 1])
    assert apart.low == pytest.approx(0.001)
    steps = np.diff(apart.thickness(np.array([0.01, 0.1, 1.0])))
    np.testing.assert_allclose(steps, 1 / np.log10(4000))


@pytest.mark.parametrize("scale", [(1.0, 2.0), (1.0, 2e9), (0.0, 0.0), (0.0, 5.0)], ids=str)
def test_bands_are_never_invisible_and_never_beyond_the_scale(scale):
    norms = np.array(scale)
    strength = Strength.of(norms, norms / 1e12)

    found = strength.thickness(np.append(norms, 0))
    assert (found > 0).all()
    assert (found <= 1).all()
    assert np.isfinite(colours(strength, np.append(norms, 0))).all()
    assert 1 <= len(strength.ticks()) <= 8
