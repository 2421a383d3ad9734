"""The fused loss against autograd through all logits, in float64."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from backlight.data.batches import Batch, Passages
from backlight.models.wiring.head import Head
from backlight.objectives import objective
from backlight.objectives.objective import Curved, NextToken, token_weights

VOCABULARY, WIDTH = 13, 6
HEADS = {
    "plain": {},
    "bias": {"bias": True},
    "scale": {"scale": 0.3},
    "soft cap": {"cap": 1.5},
    "all": {"bias": True, "scale": 2.0, "cap": 3.0},
}


def head_of(*, bias=False, scale=1.0, cap=None, dtype=torch.float64):
    return Head(
        weight=torch.randn(VOCABULARY, WIDTH, dtype=dtype),
        bias=torch.randn(VOCABULARY, dtype=dtype) if bias else None,
        scale=scale,
        cap=cap,
    )


def some_batch(lengths=(7, 2, 5)):
    random = np.random.default_rng(0)
    passages = Passages(tokens=[random.integers(0, VOCABULARY, length) for length in lengths])
    return Batch.of(passages, range(len(lengths)))


def reference(logits, batch, reduction):
    """The loss of each sequence alone, from its own unpadded logits."""
    sums = []
    for row, length in enumerate(batch.lengths.tolist()):
        targets = batch.input_ids[row, 1:length]
        sums.append(cross_entropy(logits[row, : length - 1], targets, reduction="sum"))
    predicted = batch.lengths - 1
    if reduction == "sequence_mean":
        return sum(loss / count for loss, count in zip(sums, predicted, strict=True)), sums
    return sum(sums) / (predicted.sum() if reduction == "batch_mean" else 1), sums


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_sum", "batch_mean"])
@pytest.mark.parametrize("options", HEADS.values(), ids=HEADS)
def test_loss_and_gradient_are_autograds(monkeypatch, options, reduction):
    monkeypatch.setattr(objective, "_CHUNK_ELEMENTS", 4 * VOCABULARY)  # several chunks
    head, batch = head_of(**options), some_batch()
    hidden = torch.randn(3, 7, WIDTH, dtype=torch.float64, requires_grad=True)

    found = NextToken(reduction)(hidden, batch, head)

    assert torch.equal(NextToken(reduction).value(hidden, batch, head), found.value)
    loss, sums = reference(head.logits(hidden), batch, reduction)
    (expected,) = torch.autograd.grad(loss, hidden)
    torch.testing.assert_close(found.gradient, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.nats, torch.stack(sums).detach(), rtol=1e-10, atol=1e-12)


def test_without_a_head_the_gradient_is_at_the_logits():
    batch = some_batch()
    logits = torch.randn(3, 7, VOCABULARY, dtype=torch.float64, requires_grad=True)

    found = NextToken("sequence_mean")(logits, batch, None)

    loss, _ = reference(logits, batch, "sequence_mean")
    (expected,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(found.gradient, expected, rtol=1e-10, atol=1e-12)


def test_the_output_is_not_changed():
    hidden = torch.randn(3, 7, VOCABULARY, dtype=torch.float64)
    before = hidden.clone()

    NextToken("token_sum")(hidden, some_batch(), None)

    assert torch.equal(hidden, before)


def test_no_gradient_enters_at_pads_or_at_last_tokens():
    batch = some_batch()
    hidden = torch.randn(3, 7, WIDTH, dtype=torch.float64)

    gradient = NextToken("token_sum")(hidden, batch, head_of()).gradient

    for row, length in enumerate(batch.lengths.tolist()):
        assert (gradient[row, length - 1 :] == 0).all()
        assert (gradient[row, : length - 1] != 0).any(dim=-1).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_losses_are_computed_in_float32(dtype):
    batch, head = some_batch(), head_of(dtype=dtype)
    hidden = torch.randn(3, 7, WIDTH, dtype=dtype)

    found = NextToken("token_sum")(hidden, batch, head)

    _, sums = reference(head.logits(hidden).float(), batch, "token_sum")
    torch.testing.assert_close(found.nats, torch.stack(sums).double(), rtol=1e-5, atol=1e-5)
    assert found.gradient.dtype == dtype


@pytest.mark.parametrize(
    ("reduction", "total"), [("sequence_mean", 3.0), ("token_sum", 11.0), ("batch_mean", 1.0)]
)
def test_weights_sum_to_what_the_reduction_says(reduction, total):
    assert float(token_weights(some_batch(), reduction).sum()) == pytest.approx(total)


def dense_product(logits_of, hidden, batch, reduction, direction):
    """How fast the gradient of the plain loss changes along a direction, by autograd twice."""
    predicts = batch.valid[:, 1:]
    losses = cross_entropy(
        logits_of(hidden)[:, :-1][predicts], batch.input_ids[:, 1:][predicts], reduction="none"
    )
    loss = (losses * token_weights(batch, reduction)).sum()
    (gradient,) = torch.autograd.grad(loss, hidden, create_graph=True)
    return torch.autograd.grad(gradient, hidden, direction)[0]


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_sum", "batch_mean"])
@pytest.mark.parametrize("options", HEADS.values(), ids=HEADS)
def test_the_hessian_of_the_loss_times_a_direction_is_autograds(monkeypatch, options, reduction):
    monkeypatch.setattr(objective, "_CHUNK_ELEMENTS", 4 * VOCABULARY)  # several chunks
    head, batch = head_of(**options), some_batch()
    hidden = torch.randn(3, 7, WIDTH, dtype=torch.float64, requires_grad=True)
    direction = torch.randn_like(hidden)

    found = NextToken(reduction).curvature(hidden, batch, head, direction)

    expected = dense_product(head.logits, hidden, batch, reduction, direction)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_without_a_head_the_direction_is_one_of_logits():
    batch = some_batch()
    logits = torch.randn(3, 7, VOCABULARY, dtype=torch.float64, requires_grad=True)
    direction = torch.randn_like(logits)

    found = NextToken().curvature(logits, batch, None, direction)

    expected = dense_product(lambda rows: rows, logits, batch, "sequence_mean", direction)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_products_are_taken_from_logits_in_float32(dtype):
    batch, head = some_batch(), head_of(cap=3.0, dtype=dtype)
    hidden = torch.randn(3, 7, WIDTH, dtype=dtype)
    direction = torch.randn_like(hidden)

    found = NextToken().curvature(hidden, batch, head, direction)

    wide = head_of(dtype=torch.float64)
    object.__setattr__(wide, "weight", head.weight.double())
    object.__setattr__(wide, "cap", 3.0)
    expected = NextToken().curvature(hidden.double(), batch, wide, direction.double())
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=0.05, atol=0.02)


def test_a_loss_has_a_second_order():
    assert isinstance(NextToken(), Curved)


def counting_batch():
    """Passages of which some tokens count; of the second the first, too, which nothing predicts."""
    random = np.random.default_rng(1)
    counted = [[0, 0, 1, 1, 0, 0, 1], [1, 1], [0, 0, 0, 1, 0]]
    passages = Passages(
        tokens=[random.integers(0, VOCABULARY, len(own)) for own in counted],
        counted=[np.array(own, dtype=bool) for own in counted],
    )
    return Batch.of(passages, range(3)), passages


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_sum", "batch_mean"])
@pytest.mark.parametrize("options", HEADS.values(), ids=HEADS)
def test_where_some_tokens_count_the_others_are_labels_that_pytorch_ignores(options, reduction):
    head, (batch, passages) = head_of(**options), counting_batch()
    hidden = torch.randn(3, 7, WIDTH, dtype=torch.float64, requires_grad=True)

    found = NextToken(reduction)(hidden, batch, head)
    labels = torch.full((3, 7), -100)
    for row, (ids, counts) in enumerate(zip(passages.tokens, passages.counted, strict=True)):
        labels[row, : len(ids)] = torch.from_numpy(np.where(counts, ids, -100))
    losses = cross_entropy(
        head.logits(hidden)[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none"
    ).sum(dim=1)
    counts = (labels[:, 1:] != -100).sum(dim=1)
    divided = {"sequence_mean": counts, "token_sum": 1, "batch_mean": counts.sum()}[reduction]
    value = losses / divided
    (expected,) = torch.autograd.grad(value.sum(), hidden)

    torch.testing.assert_close(found.gradient, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.nats, losses.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.value, value.detach(), rtol=1e-10, atol=1e-12)
    assert torch.equal(NextToken(reduction).value(hidden, batch, head), found.value)
    assert counts.tolist() == [3, 1, 1]
    assert passages.num_predicted == batch.num_predicted == 5


def test_a_mask_of_all_tokens_changes_no_bit():
    random, head = np.random.default_rng(0), head_of(dtype=torch.float32)
    tokens = [random.integers(0, VOCABULARY, length) for length in (7, 2, 5)]
    marked = Passages(tokens=tokens, counted=[np.ones(len(own), dtype=bool) for own in tokens])
    hidden = torch.randn(3, 7, WIDTH)

    plain = NextToken()(hidden, Batch.of(Passages(tokens=tokens), range(3)), head)
    same = NextToken()(hidden, Batch.of(marked, range(3)), head)

    assert torch.equal(plain.gradient, same.gradient)
    assert torch.equal(plain.value, same.value)


def test_the_hessian_is_that_of_the_tokens_that_count():
    head, (batch, _) = head_of(bias=True, cap=2.0), counting_batch()
    hidden = torch.randn(3, 7, WIDTH, dtype=torch.float64)
    direction = torch.randn_like(hidden)

    found = NextToken().curvature(hidden, batch, head, direction)

    step = 1e-5 * direction
    ahead, behind = (NextToken()(hidden + side * step, batch, head).gradient for side in (1, -1))
    torch.testing.assert_close(found, (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-8)
