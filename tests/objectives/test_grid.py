"""The columns that prompts share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backlight.errors import PromptError
from backlight.objectives.grid import align
from backlight.objectives.prompts import Piece, Prompt
from backlight.objectives.spans import PromptTokens, locate
from backlight.objectives.templates import Template
from backlight.world.model import city_tokenizer
from zoo.offsets import add_ends, bpe_tokenizer, byte_tokenizer

BYTES = byte_tokenizer()


def grid_of(text, rows, answer="!", tokenizer=BYTES):
    prompts = Template(text=text, answer=answer).fill(rows)
    return align(prompts, [locate(prompt, tokenizer) for prompt in prompts], tokenizer)


def parts(grid):
    return [(each.name, each.label, each.part, each.is_field) for each in grid.positions]


def test_pieces_of_one_length_have_a_column_for_each_token():
    grid = grid_of("is {x},", [{"x": "ab"}, {"x": "cb"}])

    assert parts(grid) == [
        ("is_1", "i", "token", False),
        ("is_2", "s", "token", False),
        ("space", " ", "token", False),
        ("x_1", "x_1", "token", True),
        ("x_2", "b", "token", True),
        ("comma", ",", "token", False),
        ("answer", "!", "token", True),
    ]
    np.testing.assert_array_equal(grid.starts, [range(7)] * 2)
    assert (grid.counts == 1).all()


def test_other_pieces_have_a_first_a_middle_and_a_last():
    grid = grid_of("{x}?", [{"x": "a"}, {"x": "bc"}, {"x": "defg"}])

    assert parts(grid) == [
        ("x_first", "x first", "first", True),
        ("x_middle", "x middle", "middle", True),
        ("x_last", "x last", "last", True),
        ("question_mark", "?", "token", False),
        ("answer", "!", "token", True),
    ]
    np.testing.assert_array_equal(grid.starts, [[0, 1, 0, 1, 2], [0, 1, 1, 2, 3], [0, 1, 3, 4, 5]])
    np.testing.assert_array_equal(grid.counts, [[1, 0, 1, 1, 1], [1, 0, 1, 1, 1], [1, 2, 1, 1, 1]])


def test_a_middle_that_no_prompt_has_is_no_column():
    grid = grid_of("{x}?", [{"x": "a"}, {"x": "bc"}])

    assert [each.name for each in grid.positions][:2] == ["x_first", "x_last"]
    assert (grid.counts.sum(axis=0) > 0).all()


def test_answers_of_different_lengths_have_ends_too():
    grid = grid_of("{x}", [{"x": "a", "y": "1"}, {"x": "b", "y": "234"}], answer="{y}")

    assert [each.name for each in grid.positions] == [
        *("x", "answer_first", "answer_middle", "answer_last"),
    ]
    np.testing.assert_array_equal(grid.counts, [[1, 1, 0, 1], [1, 1, 1, 1]])


def test_columns_may_be_called_by_their_ends():
    grid = grid_of("is {x}{y}", [{"x": "a", "y": "b c"}])

    assert {each.name: each.other_names for each in grid.positions} == {
        "is_1": ("is_first",),
        "is_2": ("is_last",),
        "space": (),
        "x": ("x_first", "x_last"),
        "y_1": ("y_first",),
        "y_2": (),
        "y_3": ("y_last",),
        "answer": ("answer_first", "answer_last"),
    }
    assert grid.find("y_last") == grid.find("y_3") == 6


def test_a_name_of_its_own_wins_over_another_name():
    pieces = (Piece(name="x", text="a", is_field=True), Piece(name="x_last", text="b"))
    prompt = Prompt(pieces=pieces, answer="!")

    grid = align([prompt], [locate(prompt, BYTES)], BYTES)

    assert (grid.find("x_first"), grid.find("x_last")) == (0, 1)


def test_pieces_may_bring_other_names():
    pieces = (Piece(name="digit4", text="7", is_field=True, other_names=("last_digit", "end")),)
    prompt = Prompt(pieces=pieces, answer=" 1")

    grid = align([prompt], [locate(prompt, city_tokenizer())], city_tokenizer())

    assert grid.find("last_digit") == grid.find("end") == grid.find("digit4") == 0


def test_digits_that_differ_are_an_x():
    grid = grid_of("{x}", [{"x": "12"}, {"x": "32"}, {"x": "42"}])

    assert [each.label for each in grid.positions] == ["X", "2", "!"]


def test_what_a_tokenizer_puts_in_front_is_a_column():
    grid = grid_of("{x}", [{"x": "a"}, {"x": "b"}], tokenizer=add_ends(byte_tokenizer()))

    assert parts(grid)[0] == ("bos", "<s>", "token", False)
    assert len(grid.positions) == 3


def test_words_that_are_merged_into_some_fields_are_counted_where_they_are():
    grid = grid_of("in {place} now", [{"place": "the"}, {"place": "Ω"}], tokenizer=bpe_tokenizer())

    (space,) = [column for column, each in enumerate(grid.positions) if each.piece == "space"]
    assert grid.counts[:, space].tolist() == [0, 1]


def test_positions_that_do_not_exist_have_near_names():
    grid = grid_of("{country}, is", [{"country": "a"}])

    with pytest.raises(
        PromptError,
        match=r"There is no position 'contry' in these prompts\. Did you mean country or country_"
        r"\w+ or country_\w+\? `backlight tokens CONFIG --list_positions` lists all\.",
    ):
        grid.find("contry")
    with pytest.raises(PromptError, match=r"no position 'zzz' in .*\. There are country_first, "):
        grid.find("zzz")


@pytest.mark.parametrize("value", ["ab", "abc"])
def test_two_positions_of_one_name_are_refused(value):
    with pytest.raises(
        PromptError, match=r"Two positions of these prompts would be called 'x_1'; rename the field"
    ):
        grid_of("{x}{x_1}", [{"x": value, "x_1": "c"}])


PIECES = "abcdefg"


@st.composite
def occurrences(draw):
    """How many tokens each piece has in each prompt, the last one the answer; 0 if it has none."""
    num = draw(st.integers(1, 5))
    sizes = st.lists(st.integers(0, 4), min_size=num, max_size=num)
    answers = st.lists(st.integers(1, 4), min_size=num, max_size=num)
    return [*(draw(sizes) for _ in PIECES), draw(answers)]


@settings(max_examples=60)
@given(occurrences())
def test_every_token_is_in_one_column_but_for_those_that_are_first_and_last(sizes):
    prompts = [
        Prompt(pieces=tuple(Piece(name=name, text=name) for name in PIECES), answer="x")
    ] * len(sizes[0])
    located = []
    for *own, answer in zip(*sizes, strict=True):
        owners = [name for name, size in zip(PIECES, own, strict=True) for _ in range(size)]
        total = len(owners) + answer
        ids = np.arange(total) + 10
        located.append(PromptTokens(ids=ids, owners=tuple(owners), start=len(owners), stop=total))

    grid = align(prompts, located, BYTES)

    for row, tokens in enumerate(located):
        owners = [*tokens.owners, *["answer"] * (tokens.stop - tokens.start)]
        for place, owner in enumerate(owners):
            columns = [
                grid.positions[column]
                for column in range(len(grid.positions))
                if grid.starts[row, column] <= place < grid.stops[row, column]
            ]
            assert {each.piece for each in columns} == {owner}
            is_both = owners.count(owner) == 1 and columns[0].part != "token"
            assert [each.part for each in columns] == (
                ["first", "last"] if is_both else [columns[0].part]
            )
        # Columns follow the text.
        there = np.flatnonzero(grid.counts[row])
        assert (np.diff(grid.starts[row, there]) >= 0).all()
    assert grid.positions[-1].piece == "answer"
    for name, own in zip([*PIECES, "answer"], sizes, strict=True):
        found = {each.part for each in grid.positions if each.piece == name}
        varies = len(set(own) - {0}) > 1
        more = {"middle"} if max(own) > 2 else set()
        assert found == ({"first", "last", *more} if varies else {"token"} if any(own) else set())


def test_prompts_that_contradict_each_other_in_their_order_still_have_columns():
    prompts, located = [], []
    for order in ("abc", "cba"):
        prompts.append(Prompt(pieces=tuple(Piece(name=n, text=n) for n in order), answer="x"))
        located.append(PromptTokens(ids=np.arange(4) + 10, owners=tuple(order), start=3, stop=4))

    grid = align(prompts, located, BYTES)

    assert [each.name for each in grid.positions] == ["a", "b", "c", "answer"]
    np.testing.assert_array_equal(grid.starts, [[0, 1, 2, 3], [2, 1, 0, 3]])
