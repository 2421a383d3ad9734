import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.foreign.text import html, markdown, plain, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        (
            "Ωμέγα, 中文, हिन्दी, Tiếng Việt, שלום, \U0001f525",
            "Ωμέγα, 中文, हिन्दी, Tiếng Việt, שלום, \U0001f525",
        ),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),
        ("a\0b\x7f", r"a\x00b\x7f"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("a\u200bb\u200d\ufeff\u00ad", r"a\u200bb\u200d\ufeff\xad"),
        ("\u3164\u115f\u2800", r"\u3164\u115f\u2800"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("\t\r", r"\t\r"),
        ("a\nb", r"a\nb"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("e\u0301\u0302\u0303\u0304", "e\u0301\u0302\u0303\u0304"),
        ("e" + "\u0301" * 6, "e" + "\u0301" * 4 + r"\u0301\u0301"),
        ("a\u00a0b\u3000c", "a\u00a0b\u3000c"),
        ([1, "\x1b"], r"[1, '\x1b']"),
    ],
)
def test_what_steers_or_hides_is_written_by_its_number(text, shown):
    assert plain(text) == shown


def test_line_breaks_are_kept_where_lines_are_asked_for():
    assert plain("a\nb\r\n\x1b", lines=True) == "a\nb\\r\n\\x1b"


@given(text=st.text())
def test_plain_text_is_left_as_it_is_when_it_is_made_plain_again(text):
    shown = plain(text)

    assert plain(shown) == shown
    assert "\x1b" not in shown
    shown.encode()  # no halves of letters


def test_markup_is_read_on_a_page_and_not_obeyed():
    assert html("<b a='1'>&\x1b") == "&lt;b a=&#x27;1&#x27;&gt;&amp;\\x1b"


def test_a_name_on_a_page_of_markdown_is_only_a_name():
    assert markdown("a_b/C-1.5 (x)") == "a_b/C-1.5 (x)"
    assert markdown("[x](y)`<b>|*\x1b") == r"\[x\](y)\`&lt;b>\|\*\\x1b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" a b", "·a·b"),
        ("\n\t", "\\n\\t"),
        ("\u4e2d\u00e9", "\u4e2d\u00e9"),
        ("\u00a0", "\\xa0"),
        ("\u200b", "\\u200b"),
        ("<bos>", "<bos>"),
    ],
)
def test_all_signs_of_a_text_can_be_seen(text, shown):
    assert visible(text) == shown


def test_blanks_of_a_sentence_can_stay():
    assert visible("a b\n", blanks=False) == "a b\\n"
