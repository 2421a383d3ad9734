import numpy as np
import torch

from backlight.stats.ratio import NamedRatios, Ratios

RANDOM = torch.Generator().manual_seed(0)
ABOVE, OTHER, BELOW = (torch.rand(7, 3, generator=RANDOM, dtype=torch.float64) for _ in range(3))
COUNT = torch.tensor([3.0, 1, 4, 1, 5, 9, 2], dtype=torch.float64)


def fed(rows=slice(None)):
    state = NamedRatios(["share", "mean"], 3)
    state.update({"mean": (OTHER[rows], COUNT[rows]), "share": (ABOVE[rows], BELOW[rows])})
    return state


def plain(above, below):
    state = Ratios(3)
    state.update(above, below)
    return state.result()


def test_each_name_has_the_ratios_of_its_own_rows():
    found = fed().result()

    expected = {"share": plain(ABOVE, BELOW), "mean": plain(OTHER, COUNT[:, None].expand(-1, 3))}
    assert list(found) == ["share", "mean"]
    for name, result in expected.items():
        np.testing.assert_array_equal(found[name].ratio, result.ratio)
        np.testing.assert_array_equal(found[name].se, result.se)
        np.testing.assert_array_equal(found[name].num_sequences, [7, 7, 7])


def test_parts_are_merged_and_taken_up_again():
    merged, restored = fed(slice(0, 4)), NamedRatios(["share", "mean"], 3)
    merged.merge(fed(slice(4, 7)))
    restored.restore(merged.state())

    for name, expected in fed().result().items():
        np.testing.assert_allclose(merged.result()[name].ratio, expected.ratio)
        np.testing.assert_array_equal(restored.result()[name].se, merged.result()[name].se)
