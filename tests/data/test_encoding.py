"""Rows as tokens, and what is lost on the way."""

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from backlight.data import encoding
from backlight.data.encoding import Encoder
from backlight.errors import DatasetError
from zoo.tokenizers import WordTokenizer


def pieces_tokenizer(**special):
    """A byte-level tokenizer of a few merges, which has a token for everything."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat and the dog"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def counted(rows, tokenizer, max_length=4):
    encoder = Encoder(tokenizer, max_length=max_length)
    return encoder, [ids.tolist() for ids in encoder.passages(rows)]


@pytest.mark.parametrize(
    "text", ["the cat " * 5000, "这是一个句子。" * 5000, "a" * 40_000, " " * 40_000]
)
def test_a_giant_text_begins_with_the_same_tokens_as_if_all_of_it_was_read(monkeypatch, text):
    tokenizer = pieces_tokenizer()
    whole = tokenizer(text, truncation=True, max_length=50)["input_ids"]
    read = []

    def counting(part, **options):
        read.append(len(part))
        return tokenizer(part, **options)

    monkeypatch.setattr(encoding, "_GIANT", 100)
    encoder, (ids,) = counted([text], counting, max_length=50)

    assert ids == whole
    assert encoder.num_cut == 1
    assert max(read) < len(text)


def test_a_giant_text_of_few_tokens_is_read_whole(monkeypatch):
    monkeypatch.setattr(encoding, "_GIANT", 100)
    text = "word" + " " * 10_000 + "end"

    encoder, rows = counted([text], WordTokenizer())

    assert rows == [[3, 4]]
    assert encoder.num_cut == 0


def test_a_tokenizer_that_keeps_the_end_of_a_text_is_shown_the_end(monkeypatch):
    monkeypatch.setattr(encoding, "_GIANT", 100)
    tokenizer = pieces_tokenizer(truncation_side="left")

    _, (ids,) = counted(["the cat " * 1000 + "dog"], tokenizer)

    assert tokenizer.decode(ids).endswith("dog")


def test_a_text_that_just_fits_is_not_cut():
    encoder, rows = counted(["a b c d", "a b c d e"], WordTokenizer())

    assert [len(row) for row in rows] == [4, 4]
    assert encoder.num_cut == 1


def test_token_ids_are_cut_and_counted_like_text():
    encoder, rows = counted([np.arange(1, 9), np.array([5]), np.array([5, 6])], WordTokenizer())

    assert rows == [[1, 2, 3, 4], [5, 6]]
    assert (encoder.num_cut, encoder.left_out) == (1, {"fewer_than_two_tokens": 1})


@pytest.mark.parametrize(
    ("ids", "special", "refused"),
    [
        ([5, 6, 0], {"pad_token": "<pad>"}, True),
        ([0, 5, 6], {"pad_token": "<pad>"}, True),
        ([5, 0, 6], {"pad_token": "<pad>"}, False),
        ([5, 6, 1], {"pad_token": "</s>", "eos_token": "</s>"}, False),
        ([5, 1, 1], {"pad_token": "</s>", "eos_token": "</s>"}, True),
        ([1, 1, 5], {"pad_token": "</s>", "eos_token": "</s>"}, True),
        ([5, 6, 0], {}, False),
    ],
)
def test_token_ids_with_pads_around_them_are_refused(ids, special, refused):
    tokenizer = pieces_tokenizer(**special)

    if refused:
        with pytest.raises(DatasetError, match=r"Row 0 of token ids begins or ends with pads \(id"):
            counted([np.array(ids)], tokenizer)
    else:
        assert counted([np.array(ids)], tokenizer)[1] == [ids]


def test_what_the_tokenizer_does_not_know_is_counted(text_tokenizer):
    encoder, _ = counted(["light falls xyz", "这 是 a"], text_tokenizer)

    assert encoder.num_unknown == 3


@pytest.fixture
def text_tokenizer(model_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_folder)
