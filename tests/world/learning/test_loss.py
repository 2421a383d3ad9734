"""The loss of answers, against one pass over whole rows."""

import pytest
from torch.testing import assert_close

from backlight.world.learning.encoding import encode
from backlight.world.learning.loss import answer_loss
from backlight.world.model import city_tokenizer, new_city_model

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
