"""Which keys a query sees, against the rule spelled out for every pair."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backlight.decompose.visibility import CAUSAL, Visibility
from backlight.errors import ConfigError
from zoo.eager_attention import mask_matrix

rules = st.fixed_dictionaries(
    {
        "causal": st.booleans(),
        "window": st.none() | st.integers(1, 9),
        "offset": st.integers(0, 4),
    }
)


@given(rule=rules, num_queries=st.integers(1, 9), start=st.integers(0, 8), size=st.integers(1, 9))
def test_blocks_of_the_mask_are_those_of_the_whole_mask(rule, num_queries, start, size):
    start = min(start, num_queries - 1)
    stop = min(start + size, num_queries)
    num_keys = num_queries + rule["offset"]
    whole = mask_matrix(num_queries, num_keys, **rule)[start:stop]
    visibility = Visibility(**rule)

    low, high = visibility.reach(start, stop, num_keys)
    found = visibility.visible(start, stop, low, high, device=torch.device("cpu"))

    assert torch.equal(found, whole[:, low:high])
    assert not whole[:, :low].any()
    assert not whole[:, high:].any()
    assert found.any(dim=0).all()  # no key is fetched in vain
    assert found.any(dim=1).all()


def test_the_default_is_causal():
    assert Visibility(causal=True, window=None, offset=0) == CAUSAL


def test_rules_by_which_a_query_sees_nothing_are_refused():
    with pytest.raises(ConfigError, match="window of 0 holds no key; take 1"):
        Visibility(window=0)
    with pytest.raises(ConfigError, match="offset is -1; no key stands before"):
        Visibility(offset=-1)
