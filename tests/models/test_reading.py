"""What a model can read is known before it sees any text."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

from backlight.errors import ConfigError, DatasetError, ModelError
from backlight.models.loading import subject_from_transformers
from backlight.models.modules import subject_from_module
from backlight.models.reading import Reach, reach_of, refuse_unreadable
from zoo.models import VOCABULARY, tiny_model
from zoo.tokenizers import WordTokenizer


class Plain(nn.Module):
    """A model of one's own: an embedding of tokens, perhaps one of positions, and a head."""

    def __init__(self, *, positions=None, head=40, looked_up=False, types=False):
        super().__init__()
        self.wte = nn.Embedding(40, 4)
        self.wpe = None if positions is None else nn.Embedding(positions, 4)
        self.types = nn.Embedding(2, 4) if types else None
        self.head = nn.Linear(4, head)
        self.looked_up = looked_up

    def forward(self, ids):
        x = self.wte.weight[ids] if self.looked_up else self.wte(ids)
        if self.wpe is not None:
            x = x + self.wpe(torch.arange(ids.shape[1]))
        if self.types is not None:
            x = x + self.types(torch.zeros_like(ids))
        return self.head(x)


def subject_of(model):
    return subject_from_module(model, WordTokenizer())


def refuse(subject, *rows):
    refuse_unreadable(
        subject, [np.array(row) for row in rows], kind="passage", remedy="lower --max_length"
    )


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Plain(), Reach(vocabulary=40)),
        (Plain(positions=15), Reach(vocabulary=40, positions=15)),
        (Plain(head=37), Reach(vocabulary=37)),
        (Plain(looked_up=True, head=38, types=True), Reach(vocabulary=38)),
    ],
)
def test_vocabulary_and_positions_of_a_module_are_found_by_looking_on(model, expected):
    assert reach_of(subject_of(model)) == expected
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("name", "positions"), [("llama", None), ("gpt2", 64), ("opt", 64), ("bloom", None)]
)
def test_vocabulary_and_positions_of_families_are_found(name, positions):
    subject = subject_from_transformers(tiny_model(name), WordTokenizer())

    assert reach_of(subject) == Reach(vocabulary=VOCABULARY, positions=positions)


def test_a_token_beyond_the_vocabulary_is_named_with_its_passage():
    subject = subject_from_transformers(tiny_model("llama"), WordTokenizer())

    refuse(subject, [3, VOCABULARY - 1])
    with pytest.raises(DatasetError, match=rf"Passage 1 has the token id {VOCABULARY}.*resize_tok"):
        refuse(subject, [3, 4], [3, VOCABULARY])


def test_a_negative_token_is_named_also_where_it_would_read_another_s_embedding():
    subject = subject_of(Plain(looked_up=True))

    with pytest.raises(
        DatasetError, match=r"Passage 0 has the token id -100; ids begin at 0\. Lab"
    ):
        refuse(subject, [3, -100])


def test_a_token_that_the_head_cannot_predict_is_refused():
    with pytest.raises(DatasetError, match=r"has the token id 38.*has 38 tokens, 0 to 37"):
        refuse(subject_of(Plain(head=38)), [1, 38])


def test_a_passage_beyond_the_positions_is_refused():
    subject = subject_of(Plain(positions=15))

    refuse(subject, [1] * 15)
    with pytest.raises(ConfigError, match=r"reads at most 15 tokens, .* passages of 16; lower --m"):
        refuse(subject, [1] * 16)


def test_a_module_that_refuses_the_longest_passage_is_asked_before_anything_is_measured():
    class Short(Plain):
        def forward(self, ids):
            assert ids.shape[1] <= 15, "block size is only 15"
            return super().forward(ids)

    with pytest.raises(
        ConfigError, match=r"cannot read a passage of 16 tokens \('block size is only"
    ):
        refuse(subject_of(Short()), [1] * 16, [1, 2])


def test_a_model_without_tokens_is_refused():
    model = Plain()
    subject = subject_of(model)
    model.wte = nn.Embedding(1, 4)

    with pytest.raises(ModelError, match=r"cannot read the tokens 0 and 1: .*vocabulary empty\?"):
        refuse(subject, [0, 0])


def test_rotary_positions_that_were_never_trained_are_warned_of(caplog):
    subject = subject_from_transformers(tiny_model("llama"), WordTokenizer())
    most = subject.model.config.max_position_embeddings

    with caplog.at_level(logging.WARNING, logger="backlight"):
        refuse(subject, [3] * most)
        assert not caplog.text
        refuse(subject, [3] * (most + 1))
    assert f"a passage of {most + 1} tokens" in caplog.text
    assert f"has {most} positions" in caplog.text
