"""Text is cut to just the columns there are, and a marked token is the last to go."""

import pytest
from rich.cells import cell_len

from backlight.surveys.driver.words.cutting import cut_around, cut_end, cut_start

CONTEXTS = [
    "«first» of all, and then some more text",
    "some text, and then at the end the «last»",
    "where the light «falls», the gradient flows",
    "浪漫浪漫浪漫 «漫» 浪漫浪漫浪漫浪漫",
    "a «quote» with a second «quote» in it",
    "no mark at all, however long the text is",
    "an «unfinished mark, however long it is",
]


@pytest.mark.parametrize("room", range(60))
@pytest.mark.parametrize("context", CONTEXTS)
def test_a_context_has_just_the_columns_there_are_and_keeps_its_mark(context, room):
    told = cut_around(context, room)

    assert cell_len(told) == room
    marked = f"«{context.partition('«')[2].partition('»')[0]}»"
    if marked in context and cell_len(marked) + 2 <= room:
        assert marked in told
    if cell_len(context) > room > 0 and not 0 <= room - cell_len(marked) < 2:
        assert "…" in told
    elif cell_len(context) <= room:
        assert told.rstrip() == context[: len(told.rstrip())]


def test_both_sides_of_a_mark_get_the_room_that_the_other_does_not_need():
    text = 20 * "b" + "«t»" + 20 * "a"

    assert cut_around(text, 13) == "…bbbb«t»aaaa…"
    assert cut_around(text[18:], 13) == "bb«t»aaaaaaa…"
    assert cut_around(text[:-18], 13) == "…bbbbbbb«t»aa"


def test_an_end_is_cut_off_to_just_the_columns_there_are():
    assert [cut_end("浪漫", room) for room in range(6)] == ["", "…", " …", "浪…", "浪漫", "浪漫 "]
    assert [cut_start("浪漫", room) for room in range(5)] == ["", "…", "…", "…漫", "浪漫"]
