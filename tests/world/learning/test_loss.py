"""Rows as tokens, and the loss of their answers, against one pass over whole rows."""

import pytest
from torch.testing import assert_close

from backlight.world.learning.loss import answer_loss, encode
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
