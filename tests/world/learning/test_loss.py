"""Rows as tokens, and the loss of their answers, against one pass over whole rows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from backlight.world.learning.loss import answer_loss, encode, share_prefixes
from backlight.world.model import VOCABULARY, city_tokenizer, new_city_model

ROWS = ["dist(c_0001,c_0002)=7", "dist(c_0003,c_0002)=1234"]

ALIKE = [f"dist(c_0001,c_{n:04d})={n * n}" for n in range(1, 9)]
MIXED = [*ALIKE, "dist(c_0222,c_0001)=5", "perimeter(c_0001,c_0002,c_0003)=77"]


def tiny():
    return new_city_model(3, hidden_size=16, num_layers=2, num_heads=2, init_scale=0.3)


@pytest.mark.parametrize("rows", [ALIKE, MIXED, MIXED[-1:]], ids=["alike", "mixed", "one"])
def test_loss_and_gradients_are_those_of_whole_rows(rows):
    encoded = encode(rows, city_tokenizer())
    expected, model = tiny(), tiny()
    labels = encoded.tokens.masked_fill(~encoded.is_answer, -100)
    whole = expected(input_ids=encoded.tokens, labels=labels).loss
    whole.backward()
    loss = answer_loss(model, encoded)
    loss.backward()
    assert_close(loss, whole)
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-4)


def test_rows_are_spelled_and_padded_on_the_right():
    encoded = encode(ROWS, city_tokenizer())
    words = [[VOCABULARY[token] for token in row] for row in encoded.tokens.tolist()]
    assert words[0] == ["<bos>", *ROWS[0], "<eos>", "<pad>", "<pad>", "<pad>"]
    assert words[1] == ["<bos>", *ROWS[1], "<eos>"]


def test_the_answer_is_what_follows_the_last_parenthesis_and_the_end():
    encoded = encode(["center(c_0001;in=TRUE)=c_0001", *ROWS], city_tokenizer())
    answers = [
        "".join(VOCABULARY[token] for token in row[mask].tolist())
        for row, mask in zip(encoded.tokens, encoded.is_answer, strict=True)
    ]
    assert answers == ["c_0001<eos>", "7<eos>", "1234<eos>"]


def test_the_shortest_question_is_counted_with_its_beginning():
    assert encode(ROWS, city_tokenizer()).shortest_question == 21
    rows = [*ROWS, "compass(c_0001,c_0002)=N"]
    assert encode(rows, city_tokenizer()).shortest_question == 21
    assert encode(rows[2:], city_tokenizer()).shortest_question == 24


def tokens_of(rows):
    return torch.tensor([[2, *row] for row in rows])


BEGINNINGS = st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=1, max_size=12)


@given(BEGINNINGS, st.integers(1, 6))
def test_the_parts_make_up_the_rows_and_the_cut_is_the_cheapest(rows, longest):
    tokens = tokens_of(rows)
    shared = share_prefixes(tokens, longest)
    again = torch.cat([shared.prefixes[shared.which], shared.rest], dim=1)
    assert torch.equal(again, tokens)
    costs = [
        len({tuple(row[:cut]) for row in tokens.tolist()}) * cut + len(tokens) * (7 - cut)
        for cut in range(1, longest + 1)
    ]
    assert shared.prefixes.numel() + shared.rest.numel() == min(costs)
    assert 1 <= shared.prefixes.shape[1] <= longest


def test_rows_with_one_first_city_are_cut_after_it():
    rows = [[7, 8, 9, 1, 1], [7, 8, 9, 2, 1], [7, 8, 9, 3, 1]]
    shared = share_prefixes(tokens_of(rows), 5)
    assert shared.prefixes.tolist() == [[2, 7, 8, 9]]
    assert shared.which.tolist() == [0, 0, 0]
