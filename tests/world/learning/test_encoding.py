"""Rows as tokens."""

from backlight.world.learning.encoding import encode
from backlight.world.model import VOCABULARY, city_tokenizer

ROWS = ["dist(c_0001,c_0002)=7", "dist(c_0003,c_0002)=1234"]


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
