"""Backward through attention in blocks against autograd through attention written out in full."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from backlight.decompose.attention import attention_backward
from backlight.decompose.attention_blocks import AttentionRule
from backlight.decompose.visibility import Visibility
from backlight.errors import ConfigError
from zoo import eager_attention as eager
from zoo.eager_attention import mean_of

MASKS = {
    "causal": {},
    "window": {"window": 3},
    "offset": {"offset": 2},
    "window and offset": {"window": 2, "offset": 2},
    "all": {"causal": False},
    "window both ways": {"causal": False, "window": 2},
}
GROUPS = ((4, 4), (4, 2), (3, 1))


def close(found, expected, tolerance=1e-10):
    assert_close(found, expected, rtol=0, atol=tolerance * max(1.0, expected.norm().item()))


@pytest.mark.parametrize(
    ("mask", "groups", "soft_cap", "sinks"),
    list(product(MASKS, GROUPS, (None, 0.8), (False, True))),
    ids=str,
)
def test_gradients_are_those_of_autograd(mask, groups, soft_cap, sinks):
    rule = MASKS[mask]
    heads, key_heads = groups
    drawn = eager.draw(heads=heads, key_heads=key_heads, keys=7 + rule.get("offset", 0))
    options = {"scale": 0.6, "soft_cap": soft_cap, "sinks": drawn.sinks if sinks else None}
    expected = eager.backward(drawn, eager.mask_matrix(7, drawn.k.shape[2], **rule), **options)
    for block_size in (1, 3, 7, 50):
        found = attention_backward(
            drawn.q,
            drawn.k,
            drawn.v,
            drawn.grad_z,
            AttentionRule(visibility=Visibility(**rule), **options),
            block_size=block_size,
        )
        for name in ("q", "k", "v"):
            close(getattr(found, name), getattr(expected, name))
        if sinks:
            close(found.sinks.sum(0), expected.sinks)
        else:
            assert not found.sinks.any()


def test_without_a_causal_mask_keys_may_be_more_or_fewer_than_queries():
    for num_keys in (3, 11):
        drawn = eager.draw(keys=num_keys)
        expected = eager.backward(drawn, torch.ones(7, num_keys, dtype=torch.bool), scale=0.6)
        rule = Visibility(causal=False)
        found = attention_backward(
            drawn.q,
            drawn.k,
            drawn.v,
            drawn.grad_z,
            AttentionRule(scale=0.6, visibility=rule),
            block_size=4,
        )
        close(found.q, expected.q)
        close(found.k, expected.k)
        close(found.v, expected.v)


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    block_size=st.integers(1, 8),
    mask=st.sampled_from(sorted(MASKS)),
    sinks=st.booleans(),
)
def test_pads_count_nowhere_whatever_stands_in_them(lengths, block_size, mask, sinks):
    rule = MASKS[mask]
    offset = rule.get("offset", 0)
    drawn = eager.draw(batch=len(lengths), queries=6, keys=6 + offset)
    for index, length in enumerate(lengths):
        drawn.q[index, :, length:] = drawn.grad_z[index, :, length:] = torch.nan
        drawn.k[index, :, length + offset :] = drawn.v[index, :, length + offset :] = torch.nan
    options = {
        "rule": AttentionRule(
            scale=0.5, visibility=Visibility(**rule), sinks=drawn.sinks if sinks else None
        ),
        "block_size": block_size,
    }

    found = attention_backward(
        drawn.q, drawn.k, drawn.v, drawn.grad_z, lengths=torch.tensor(lengths), **options
    )

    assert found.sums.num_queries.tolist() == lengths
    for index, length in enumerate(lengths):
        alone = attention_backward(
            drawn.q[index, None, :, :length],
            drawn.k[index, None, :, : length + offset],
            drawn.v[index, None, :, : length + offset],
            drawn.grad_z[index, None, :, :length],
            **options,
        )
        close(found.q[index, :, :length], alone.q[0])
        close(found.k[index, :, : length + offset], alone.k[0])
        close(found.v[index, :, : length + offset], alone.v[0])
        assert not found.q[index, :, length:].any()
        assert not found.k[index, :, length + offset :].any()
        close(found.sums.scores_square[index], alone.sums.scores_square[0])
        close(found.sums.entropy[index], alone.sums.entropy[0])


@pytest.mark.parametrize("soft_cap", [None, 2.0])
def test_identical_tokens_without_positions_send_nothing_to_queries_and_keys(soft_cap):
    drawn = eager.draw(queries=9, keys=9)
    q, k, v = (tensor[:, :, :1].expand(-1, -1, 9, -1) for tensor in (drawn.q, drawn.k, drawn.v))

    found = attention_backward(q, k, v, drawn.grad_z, AttentionRule(scale=0.5, soft_cap=soft_cap))

    assert found.v.norm() > 1
    assert found.q.norm() <= 1e-12 * found.v.norm()
    assert found.k.norm() <= 1e-12 * found.v.norm()
    assert (mean_of(found.sums, "query_key_share") < 1e-24).all()
    assert (mean_of(found.sums, "shrink_square") < 1e-24).all()


def test_single_precision_is_kept_and_half_precision_is_raised():
    drawn = eager.draw(queries=20, keys=20)
    expected = eager.backward(drawn, eager.mask_matrix(20, 20), scale=0.5)
    single = [tensor.float() for tensor in (drawn.q, drawn.k, drawn.v, drawn.grad_z)]

    found = attention_backward(*single, AttentionRule(scale=0.5))
    close(found.q.double(), expected.q, 1e-5)
    close(found.k.double(), expected.k, 1e-5)
    close(found.v.double(), expected.v, 1e-5)
    assert found.q.dtype == torch.float32
    assert found.sums.q_square.dtype == torch.float64

    half = attention_backward(*(tensor.bfloat16() for tensor in single), AttentionRule(scale=0.5))
    raised = attention_backward(
        *(tensor.bfloat16().float() for tensor in single), AttentionRule(scale=0.5)
    )
    assert half.q.dtype == torch.float32
    assert torch.equal(half.k, raised.k)


def test_parameters_and_tapes_may_be_given_as_they_are():
    drawn = eager.draw()
    plain = attention_backward(
        drawn.q, drawn.k, drawn.v, drawn.grad_z, AttentionRule(scale=0.5, sinks=drawn.sinks)
    )
    leaves = [getattr(drawn, name).clone().requires_grad_() for name in ("q", "k", "v", "sinks")]
    found = attention_backward(*leaves[:3], drawn.grad_z, AttentionRule(scale=0.5, sinks=leaves[3]))
    assert torch.equal(found.k, plain.k)
    assert not found.k.requires_grad
    assert not found.sums.entropy.requires_grad


def test_scores_too_large_for_an_exponential_do_no_harm():
    drawn = eager.draw()
    drawn.q *= 1e4
    expected = eager.backward(drawn, eager.mask_matrix(7, 7), scale=1.0, sinks=drawn.sinks)
    found = attention_backward(
        drawn.q,
        drawn.k,
        drawn.v,
        drawn.grad_z,
        AttentionRule(scale=1.0, sinks=drawn.sinks),
        block_size=2,
    )
    assert found.q.isfinite().all()
    close(found.k, expected.k)
    assert found.sums.entropy.isfinite().all()


class Largest(torch.overrides.TorchFunctionMode):
    """Remember the size of the largest tensor that any function returned."""

    numel = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numel = max(self.numel, result.untyped_storage().nbytes() // result.itemsize)
        return result


@pytest.mark.parametrize("length", [256, 512])
def test_nothing_of_the_size_of_queries_times_keys_is_ever_held(length):
    drawn = eager.draw(batch=1, queries=length, keys=length)
    with Largest() as largest:
        attention_backward(
            drawn.q,
            drawn.k,
            drawn.v,
            drawn.grad_z,
            AttentionRule(scale=0.5, sinks=drawn.sinks),
            block_size=16,
        )
    num_heads, block = 4, 16
    assert largest.numel <= num_heads * block * (length + block)


def test_a_window_holds_no_more_keys_than_it_shows():
    drawn = eager.draw(batch=1, queries=512, keys=512)
    rule = Visibility(window=8)
    with Largest() as largest:
        attention_backward(
            drawn.q,
            drawn.k,
            drawn.v,
            drawn.grad_z,
            AttentionRule(scale=0.5, visibility=rule),
            block_size=16,
        )
    assert largest.numel <= drawn.q.numel()


def test_heads_that_cannot_share_keys_are_refused():
    drawn = eager.draw(heads=3, key_heads=2)
    with pytest.raises(ConfigError, match="3 heads cannot share 2 key heads evenly"):
        attention_backward(drawn.q, drawn.k, drawn.v, drawn.grad_z, AttentionRule(scale=1.0))


def test_a_block_without_queries_is_refused():
    drawn = eager.draw()
    with pytest.raises(ConfigError, match="block of 0 queries holds none"):
        attention_backward(
            drawn.q, drawn.k, drawn.v, drawn.grad_z, AttentionRule(scale=1.0), block_size=0
        )


def test_a_soft_cap_that_leaves_no_score_is_refused():
    with pytest.raises(ConfigError, match=r"soft cap of 0\.0 leaves no score"):
        AttentionRule(scale=1.0, soft_cap=0.0)
