"""Sums of attention's statistics against the full matrices of scores and weights."""

import pytest
import torch
from torch.testing import assert_close

from backlight.decompose.attention import attention_backward
from backlight.decompose.attention_blocks import AttentionRule
from backlight.decompose.attention_sums import SATURATED_BELOW
from backlight.decompose.distance import NUM_BINS, distance_bins
from backlight.decompose.visibility import Visibility
from zoo import eager_attention as eager
from zoo.eager_attention import mean_of

MASKS = {
    "causal": {},
    "window": {"window": 3},
    "offset": {"offset": 2},
    "all": {"causal": False},
}
cases = pytest.mark.parametrize(
    ("rule", "sunk"), [(rule, sunk) for rule in MASKS.values() for sunk in (False, True)], ids=str
)


def both(rule, *, sunk=False, block_size=3, sharpness=1.0):
    """Run attention in blocks and in full, on three heads of which two share a key."""
    num_keys = 9 + rule.get("offset", 0)
    drawn = eager.draw(heads=4, key_heads=2, queries=9, keys=num_keys)
    mask = eager.mask_matrix(9, num_keys, **rule)
    options = {"scale": sharpness, "sinks": drawn.sinks if sunk else None}
    found = attention_backward(
        drawn.q,
        drawn.k,
        drawn.v,
        drawn.grad_z,
        AttentionRule(visibility=Visibility(**rule), **options),
        block_size=block_size,
    )
    return found.sums, eager.backward(drawn, mask, **options), mask, drawn


def total(values):
    return values.square().sum((-1, -2))


@cases
def test_squares_are_those_of_the_full_matrices(rule, sunk):
    sums, full, mask, drawn = both(rule, sunk=sunk)
    keys = mask.shape[1]
    assert_close(sums.z_square, total(drawn.grad_z))
    assert_close(sums.q_square, total(full.q))
    assert_close(sums.weights_square, total(full.grad_weights))
    assert_close(sums.scores_square, total(full.scores[..., :keys]))
    assert_close(sums.first_scores_square, full.scores[..., 0].square().sum(-1))
    counts = mask.sum(-1, keepdim=True)
    assert_close(sums.even_square, total(full.grad_weights / counts))


def test_keys_and_values_are_measured_before_heads_that_share_them_are_added():
    sums, full, _, _ = both({})
    assert_close(sums.k_square, total(full.keys))
    assert_close(sums.v_square, total(full.values))
    assert_close(sums.first_v_square, full.values[:, :, 0].square().sum(-1))
    assert_close(sums.first_k_square, full.keys[:, :, 0].square().sum(-1))


@cases
def test_rows_are_measured_with_the_sink_as_one_more_column(rule, sunk):
    sums, full, mask, _ = both(rule, sunk=sunk, sharpness=4.0)
    keys, choice = mask.shape[1], mask.sum(-1) >= 2
    assert_close(sums.entropy, torch.special.entr(full.rows).sum((-1, -2)))
    assert_close(sums.largest, full.rows[..., :keys].amax(-1).sum(-1))
    assert_close(sums.first_weight, full.rows[..., 0].sum(-1))
    saturated = (1 - full.rows.square().sum(-1) < SATURATED_BELOW) & choice
    assert_close(sums.num_saturated, saturated.sum(-1).double())
    assert saturated.any()
    sink = full.rows[..., keys:].sum((-1, -2))
    assert_close(sums.sink_weight, sink)


@cases
def test_counts_give_what_even_rows_would_give(rule, sunk):
    sums, _, mask, _ = both(rule, sunk=sunk)
    counts = mask.sum(-1).double()
    assert sums.num_queries.tolist() == [9, 9]
    assert_close(sums.num_choices, (counts >= 2).sum().double().expand(2))
    assert_close(sums.log_visible, counts.log().sum().expand(2))
    assert_close(sums.inverse_visible, (1 / counts).sum().expand(2))


@cases
def test_distance_bins_hold_every_visible_pair_once(rule, sunk):
    sums, full, mask, _ = both(rule, sunk=sunk)
    keys, starts = mask.shape[1], [*distance_bins(), 2**40]
    assert starts[:5] == [0, 1, 2, 4, 8]
    assert len(distance_bins()) == NUM_BINS
    queries = torch.arange(9)[:, None] + rule.get("offset", 0)
    distance = (queries - torch.arange(keys)).abs()
    squares = full.scores[..., :keys].square()
    for index in range(NUM_BINS):
        inside = (distance >= starts[index]) & (distance < starts[index + 1]) & mask
        assert_close(sums.pairs_by_distance[:, index], inside.sum().double().expand(2))
        assert_close(sums.scores_square_by_distance[..., index], (squares * inside).sum((-1, -2)))
    assert_close(sums.scores_square_by_distance.sum(-1), sums.scores_square)


def test_rows_of_the_scores_gradient_add_up_to_zero_with_the_sink():
    _, full, _, _ = both({}, sunk=True)
    assert full.scores.sum(-1).abs().max() < 1e-14  # what the definition says
    drawn = eager.draw()
    found = attention_backward(
        drawn.q,
        torch.ones_like(drawn.k),
        drawn.v,
        drawn.grad_z,
        AttentionRule(scale=1.0, sinks=drawn.sinks),
    )
    # With all keys alike the gradient at a query is the row's sum, which the sink takes back.
    assert_close(found.q[..., 0].sum(-1), -found.sinks)


@pytest.mark.parametrize("block_size", [1, 2, 4, 9])
def test_sums_do_not_depend_on_blocks(block_size):
    whole, _, _, _ = both({"window": 4}, sunk=True, block_size=100)
    found, _, _, _ = both({"window": 4}, sunk=True, block_size=block_size)
    for name in whole.__slots__:
        assert_close(getattr(found, name), getattr(whole, name))


def test_shares_are_ratios_of_means_over_all_sequences():
    sums, full, mask, _ = both({}, sharpness=2.0)
    weights, scores = full.grad_weights, full.scores
    assert_close(mean_of(sums, "shrink_square"), total(scores).sum(0) / total(weights).sum(0))
    even = total(weights / mask.sum(-1, keepdim=True)).sum(0) / total(weights).sum(0)
    assert_close(mean_of(sums, "even_shrink_square"), even)
    assert_close(mean_of(sums, "entropy"), torch.special.entr(full.rows).sum(-1).mean((0, 2)))
    assert_close(mean_of(sums, "largest"), full.rows.amax(-1).mean((0, 2)))
    trace = 1 - full.rows[:, :, 1:].square().sum(-1)
    assert_close(mean_of(sums, "saturation_share"), (trace < SATURATED_BELOW).double().mean((0, 2)))
    assert_close(
        mean_of(sums, "first_scores_share"),
        scores[..., 0].square().sum((0, 2)) / total(scores).sum(0),
    )
    upper = total(full.q).sum(0) + total(full.keys).sum(0)
    assert_close(mean_of(sums, "query_key_share"), upper / (upper + total(full.values).sum(0)))


def test_even_rows_shrink_no_less_than_one_over_n():
    drawn = eager.draw()
    found = attention_backward(
        torch.zeros_like(drawn.q), drawn.k, drawn.v, drawn.grad_z, AttentionRule(scale=1.0)
    ).sums
    assert (mean_of(found, "shrink_square") <= mean_of(found, "even_shrink_square")).all()
    assert_close(found.entropy, found.log_visible[:, None].expand_as(found.entropy))
    assert_close(found.largest, found.inverse_visible[:, None].expand_as(found.largest))
    assert not found.num_saturated.any()
