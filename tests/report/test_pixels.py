import io

import numpy as np
import pytest
from PIL import Image

from backlight.report.pixels import png_of


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (40, 61)])
def test_a_file_holds_exactly_the_pixels_and_their_resolution(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)

    read = Image.open(io.BytesIO(png_of(pixels, dpi=110)))

    assert (read.format, read.mode) == ("PNG", "RGB")
    np.testing.assert_array_equal(np.asarray(read), pixels)
    assert read.info["dpi"] == pytest.approx((110, 110), abs=0.1)


def test_pixels_of_a_larger_picture_with_opacity_can_be_written():
    whole = np.random.default_rng(0).integers(0, 256, (9, 9, 4), dtype=np.uint8)

    read = Image.open(io.BytesIO(png_of(whole[2:7, 1:5, :3], dpi=72)))

    np.testing.assert_array_equal(np.asarray(read), whole[2:7, 1:5, :3])
