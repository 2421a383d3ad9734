"""Which tokens of pairs and chats count, against offsets, templates and what TRL does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.data.completions import tokenize_conversations
from backlight.data.conversations import Chat, Conversations, Pair
from backlight.errors import DatasetError
from zoo.chats import FORGETFUL, MARKED, PLAIN, chat, spans_of, turn, with_template
from zoo.offsets import add_ends, bpe_tokenizer, byte_tokenizer, metaspace_tokenizer
from zoo.tokenizers import WordTokenizer

SAID = st.text("aP e\n<>é1", max_size=8)
CHATS = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), SAID), min_size=1).map(
    lambda turns: [turn("user", "hi"), *(turn(*each) for each in turns), turn("assistant", "x")]
)
BYTES, MERGED = with_template(), with_template(merges=80)
MARKING = with_template(MARKED)


def rows(*conversations, **more):
    return Conversations(
        rows=[(f"row {place}", each) for place, each in enumerate(conversations)], **more
    )


def encoded(conversation, tokenizer, max_length=4096, **more):
    passages = tokenize_conversations(rows(conversation), tokenizer, max_length=max_length, **more)
    return passages.tokens[0].tolist(), passages.counted[0].tolist()


@given(CHATS)
def test_the_turns_of_a_chat_count_byte_by_byte(messages):
    ids, counted = encoded(Chat(messages=messages), BYTES)

    text, letters = spans_of(messages)
    assert ids == BYTES.apply_chat_template(messages)["input_ids"]
    assert counted == [own for sign, own in zip(text, letters, strict=True) for _ in sign.encode()]


@given(CHATS)
def test_a_template_that_marks_turns_gives_the_same_mask(messages):
    assert encoded(Chat(messages=messages), MARKING) == encoded(Chat(messages=messages), BYTES)


@given(CHATS)
def test_no_token_of_two_kinds_is_kept(messages):
    text, letters = spans_of(messages)
    told = MERGED(text, add_special_tokens=False, return_offsets_mapping=True)
    kinds = [set(letters[start:stop]) for start, stop in told["offset_mapping"]]

    if any(len(own) == 2 for own in kinds):
        with pytest.raises(DatasetError, match="1 have one that begins or ends within a token"):
            encoded(Chat(messages=messages), MERGED)
        return

    ids, counted = encoded(Chat(messages=messages), MERGED)

    assert ids == told["input_ids"]
    assert [{own} for own in counted] == kinds


@given(SAID, SAID.map(lambda said: f"{said}a"))
def test_of_a_pair_the_tokens_behind_the_prompts_count(prompt, completion):
    tokenizer = bpe_tokenizer(merges=80)
    begin = tokenizer(prompt)["input_ids"]
    whole = tokenizer(f"{prompt}{completion}</s>")["input_ids"]
    if whole[: len(begin)] != begin:  # TRL warns, and counts from a place that is off
        with pytest.raises(DatasetError, match="begins or ends within a token"):
            encoded(Pair(prompt=prompt, completion=completion), tokenizer)
        return

    ids, counted = encoded(Pair(prompt=prompt, completion=completion), tokenizer)

    assert ids == whole
    assert counted == [False] * len(begin) + [True] * (len(whole) - len(begin))


def test_the_end_of_text_is_written_once():
    plain, ending = byte_tokenizer(), add_ends(byte_tokenizer())
    pair, ended = Pair(prompt="ab", completion="c"), Pair(prompt="ab", completion="c</s>")

    assert encoded(pair, plain) == encoded(ended, plain)
    assert encoded(pair, plain)[1] == [False, False, True, True]
    ids, counted = encoded(pair, ending)
    assert (ids[0], ids[-1]) == (0, 1)
    assert ids.count(1) == 1
    assert counted == [False, False, False, True, True]


def test_a_tokenizer_like_sentencepiece_is_no_other():
    tokenizer = metaspace_tokenizer()
    ids, counted = encoded(Pair(prompt="The capital of France is", completion=" Paris"), tokenizer)

    assert tokenizer.decode([token for token, own in zip(ids, counted, strict=True) if own]) == (
        "Paris</s>"
    )


def test_of_a_pair_of_chats_all_behind_the_prompt_counts():
    messages = [*chat("a", "b", "c"), turn("assistant", "d"), turn("tool", "e")]

    ids, counted = encoded(Chat(messages=messages, num_prompt=3), MARKING)

    text, _ = spans_of(messages)
    begin = len("<user>\na<end>\n<assistant>\nb<end>\n<user>\nc<end>\n<assistant>\n")
    assert ids == BYTES(text)["input_ids"]
    assert counted == [False] * begin + [True] * (len(text) - begin)


def test_a_template_that_writes_a_turn_in_two_ways_is_refused_with_the_turn():
    with pytest.raises(DatasetError, match=r"up to turn 2 of row 0 in another way alone") as told:
        encoded(Chat(messages=chat("a", "b", "c", "d")), with_template(FORGETFUL))

    assert "{% generation %}: --chat_template FILE" in str(told.value)


def test_a_header_that_is_not_in_the_chat_is_refused_with_the_turn():
    template = PLAIN.replace("<assistant>\n{% endif %}", "<assistant>\n<think>{% endif %}")

    with pytest.raises(DatasetError, match="before turn 2 of row 0 in another way alone"):
        encoded(Chat(messages=chat("a", "b")), with_template(template))


def test_a_chat_that_begins_with_an_answer_needs_a_template_that_marks_it():
    messages = [turn("assistant", "hello"), turn("user", "hi")]

    with pytest.raises(DatasetError, match="Turn 1 of row 0 is the assistant's"):
        encoded(Chat(messages=messages), BYTES)
    assert sum(encoded(Chat(messages=messages), MARKING)[1]) == len("hello<end>\n")


@pytest.mark.parametrize("tokenizer", [byte_tokenizer(), WordTokenizer()], ids=["fast", "own"])
def test_a_chat_without_a_template_is_refused(tokenizer):
    with pytest.raises(DatasetError, match=r"no chat template.*Give one with --chat_template FILE"):
        encoded(Chat(messages=chat("a", "b")), tokenizer)


def test_a_template_that_was_given_takes_the_place_of_the_own():
    given_one = Chat(messages=chat("a", "b"))

    assert encoded(given_one, with_template("{{ 1 / 0 }}"), chat_template=PLAIN) == (
        encoded(given_one, BYTES)
    )
    assert encoded(given_one, byte_tokenizer(), chat_template=MARKED) == encoded(given_one, BYTES)


@pytest.mark.parametrize("template", ["{{ raise_exception('no tools') }}", "{{ messages + 1 }}"])
def test_what_a_template_cannot_write_is_told(template):
    with pytest.raises(DatasetError, match="cannot write the first 2 of 2 turns of row 0: "):
        encoded(Chat(messages=chat("a", "b")), with_template(template))


def test_tools_and_settings_reach_the_template():
    template = "{{ tools[0]['name'] }}{{ style }}" + PLAIN
    row = Chat(messages=chat("a", "b"), tools=[{"name": "look"}], settings={"style": "kind"})

    ids, _ = encoded(row, with_template(template))

    assert BYTES.decode(ids).startswith("lookkind<user>")


def test_what_lies_behind_the_cut_is_left_out_and_counted():
    pairs = [
        Pair(prompt="abcdef", completion="gh"),  # begins behind the cut
        Pair(prompt="ab", completion="cdefgh"),  # is cut
        Pair(prompt="ab", completion="c"),
        Pair(prompt="abc", completion="d"),  # nothing is lost but the end of text
    ]

    passages = tokenize_conversations(
        rows(*pairs, left_out={"no_completion": 2}), byte_tokenizer(), max_length=4
    )

    assert passages.left_out == {"no_completion": 2, "completion_cut_off": 1}
    assert passages.num_cut == 2
    assert [each.tolist() for each in passages.counted] == [
        [False, False, True, True],
        [False, False, True, True],
        [False, False, False, True],
    ]
    assert passages.account()["num_counted"] == passages.num_predicted == 5


def test_nothing_left_is_refused_with_what_to_do():
    pair = Pair(prompt="abcdef", completion="gh")
    inside = Pair(prompt="The ", completion="capital")

    with pytest.raises(DatasetError, match=r"1 have it behind the cut\). Raise --max_length \(now"):
        encoded(pair, byte_tokenizer(), max_length=6)
    with pytest.raises(DatasetError, match="belongs to the beginning of the completion"):
        encoded(inside, bpe_tokenizer())


def test_a_first_token_alone_is_no_completion():
    with pytest.raises(DatasetError, match="1 have no completion"):
        encoded(Pair(prompt="", completion="a"), WordTokenizer())


def test_unknown_tokens_are_counted_as_of_any_text():
    tokenizer = metaspace_tokenizer()
    tokenizer.unk_token = "<unk>"

    passages = tokenize_conversations(
        rows(Pair(prompt="The", completion=" ж")), tokenizer, max_length=64
    )

    assert passages.num_unknown == np.count_nonzero(passages.tokens[0] == 0) > 0
