import numpy as np
import pytest
import torch

from backlight.errors import StateError
from backlight.stats.completeness import Completeness

SITES = ("layers.0.mlp.out", "layers.3.mlp.out")
CHANGES = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def seen(*batches, num_passages=4):
    found = Completeness(SITES, num_passages)
    for passages in batches:
        for number, site in enumerate(SITES):
            found.update(site, (1 + number) * CHANGES[list(passages)], passages)
    return found


def test_each_passage_keeps_its_own_changes_whatever_the_batches():
    found = seen((3, 0), (1,))

    for number, site in enumerate(SITES):
        expected = (1 + number) * CHANGES.numpy()
        np.testing.assert_array_equal(found.sites[site][[0, 1, 3]], expected[[0, 1, 3]])
        assert np.isnan(found.sites[site][2]).all()


def test_parts_merge_into_the_whole_and_states_come_back():
    merged, again = seen((3, 0)), Completeness(SITES, 4)
    merged.merge(seen((1,), (2,)))
    again.restore(merged.state())

    for found in (merged, again):
        for number, site in enumerate(SITES):
            np.testing.assert_array_equal(found.sites[site], (1 + number) * CHANGES.numpy())
    again.update(SITES[0], CHANGES[:1], [1])
    assert not np.array_equal(again.sites[SITES[0]], merged.sites[SITES[0]])  # a copy


def test_a_passage_is_not_merged_twice():
    with pytest.raises(StateError, match=r"passage 1 at 'layers\.0\.mlp\.out' is in both"):
        seen((0, 1)).merge(seen((1, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop(SITES[1]), r"'layers\.3\.mlp\.out' is missing"),
        (lambda state: state.update({SITES[0]: np.zeros((3, 3))}), r"\[3, 3\] where"),
        (lambda state: state[SITES[0]].fill(np.inf), "holds NaN or infinity"),
    ],
)
def test_a_state_that_was_changed_is_refused(change, message):
    state = {name: array.copy() for name, array in seen((0, 1)).state().items()}
    change(state)

    with pytest.raises(StateError, match=message):
        Completeness(SITES, 4).restore(state)
