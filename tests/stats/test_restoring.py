"""Saved states that were changed: every statistic refuses them, and stays what it was."""

import numpy as np
import pytest
import torch

from backlight.errors import StateError
from backlight.stats.bank import Bank
from backlight.stats.bootstrap import PoissonBootstrap
from backlight.stats.groups import RatioGroups, SiteGroups
from backlight.stats.histogram import LogHistogram
from backlight.stats.moments import Moments
from backlight.stats.ratio import Ratios
from backlight.stats.second_moment import SecondMoment
from backlight.stats.top import LargestTokens, TopTokens

VALUES = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))
VALID = torch.ones(3, 4, dtype=torch.bool)


def seen(make):
    def filled():
        statistic = make()
        statistic.update(VALUES, valid=VALID, passages=[0, 1, 2])
        return statistic

    return filled


def bank():
    made = Bank(num_top=2)
    made.update("layers.0.mlp.out", VALUES, valid=VALID, passages=[0, 1, 2])
    return made


def groups():
    made = SiteGroups(["mean", "rms"])
    made.update("layers.0.mlp.out", VALUES, valid=VALID, passages=[0, 1, 2])
    return made


def ratio_groups():
    made = RatioGroups(["share"], 5)
    made.update({"share": (VALUES.sum(1), VALUES.abs().sum(1))}, [0, 1, 2])
    return made


def sums(make, *parts):
    def filled():
        statistic = make()
        statistic.update(*parts)
        return statistic

    return filled


KINDS = {
    "moments": (seen(lambda: Moments(5)), lambda: Moments(5)),
    "histogram": (seen(LogHistogram), LogHistogram),
    "top": (seen(lambda: TopTokens(5, k=2)), lambda: TopTokens(5, k=2)),
    "largest": (seen(lambda: LargestTokens(5, k=2)), lambda: LargestTokens(5, k=2)),
    "second moment": (seen(lambda: SecondMoment(5)), lambda: SecondMoment(5)),
    "groups": (groups, lambda: SiteGroups(["mean", "rms"])),
    "groups of ratios": (ratio_groups, lambda: RatioGroups(["share"], 5)),
    "bank": (bank, lambda: Bank(num_top=2)),
    "ratios": (sums(lambda: Ratios(5), VALUES[:, 0], VALUES[:, 1].abs()), lambda: Ratios(5)),
    "means": (
        sums(lambda: Ratios(5, shared_below=True), VALUES.sum(1), torch.full((3, 1), 4)),
        lambda: Ratios(5, shared_below=True),
    ),
    "bootstrap": (
        sums(lambda: PoissonBootstrap(5), VALUES.sum(1), [0, 1, 2]),
        lambda: PoissonBootstrap(5),
    ),
}
HARMS = {
    "missing": lambda array: None,
    "one row more": lambda array: np.concatenate([array, array[:1]]),
    "one row less": lambda array: array[:-1],
    "flat": lambda array: array.reshape(-1)[None],
    "a number": lambda array: np.array(array.reshape(-1)[0]),
    "text": lambda array: array.astype(np.str_),
    "other kind": lambda array: array.astype(np.int64 if array.dtype.kind == "f" else np.float64),
    "negative": lambda array: array - array.max() - 2 if array.dtype.kind == "i" else None,
    "infinite": lambda array: np.full_like(array, np.inf) if array.dtype.kind == "f" else None,
    "not a number": lambda array: np.full_like(array, np.nan) if array.dtype.kind == "f" else None,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("harm", HARMS)
def test_a_state_that_was_changed_is_refused(kind, harm):
    filled, empty = KINDS[kind]
    state = {name: np.array(array) for name, array in filled().state().items()}

    for name, array in state.items():
        changed = HARMS[harm](array)
        others = {other: kept for other, kept in state.items() if other != name}
        with pytest.raises(StateError, match=r"missing|belongs|no count|no sum|are not there"):
            empty().restore(others if changed is None else {**others, name: changed})


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_comes_back_bit_by_bit(kind):
    filled, empty = KINDS[kind]
    state, again = filled().state(), empty()

    again.restore(state)

    for name, array in again.state().items():
        assert array.tobytes() == state[name].tobytes(), name
        assert array.dtype == state[name].dtype
