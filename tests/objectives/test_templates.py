"""Templates with fields, and the pieces that they are made of."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backlight.errors import PromptError
from backlight.objectives.templates import Template

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
NAMES = st.sampled_from(["country", "x", "the", "answer", "bos", "answer_1", "größe", "_"])


def names_of(text, **row):
    (prompt,) = Template(text=text, answer="a").fill([{"x": "1", **row}])
    return [piece.name for piece in prompt.pieces]


def test_words_and_signs_are_pieces_with_the_space_before_them():
    template = Template(text="The capital of {country}, it is", answer=" {capital}")

    (prompt,) = template.fill([{"country": "Peru", "capital": "Lima", "people": "33"}])

    assert [(piece.name, piece.text, piece.is_field) for piece in prompt.pieces] == [
        ("the", "The", False),
        ("capital", " capital", False),
        ("of", " of", False),
        ("space", " ", False),
        ("country", "Peru", True),
        ("comma", ",", False),
        ("it", " it", False),
        ("is", " is", False),
    ]
    assert prompt.text == "The capital of Peru, it is"
    assert (prompt.answer, prompt.wrong_answer, prompt.ending) == (" Lima", None, "")
    assert prompt.values == {"country": "Peru", "capital": "Lima", "people": 33.0}


@settings(max_examples=50)
@given(
    fixed=st.lists(TEXTS, min_size=2, max_size=5),
    names=st.lists(NAMES, min_size=4, max_size=4),
    values=st.lists(TEXTS.filter(bool), min_size=4, max_size=4),
)
@example(fixed=["{", "}"], names=["x"] * 4, values=["{x}"] * 4)
@example(fixed=["the the the_2nd the ", ""], names=["the"] * 4, values=["the"] * 4)
@example(fixed=["answer bos Answer_1", ""], names=["answer"] * 4, values=["b"] * 4)
def test_pieces_make_up_the_text_and_each_has_a_name_of_its_own(fixed, names, values):
    fields = list(zip(names, fixed[1:], strict=False))
    row = dict(zip(names, values, strict=True))
    escaped = [text.replace("{", "{{").replace("}", "}}") for text in fixed]
    text = escaped[0] + "".join(
        f"{{{name}}}{after}" for (name, _), after in zip(fields, escaped[1:], strict=True)
    )

    (prompt,) = Template(text=text, answer=f"{{{names[0]}}}!").fill([row])

    assert prompt.text == fixed[0] + "".join(row[name] + after for name, after in fields)
    assert prompt.answer == f"{row[names[0]]}!"
    found = [piece.name for piece in prompt.pieces]
    assert len(set(found)) == len(found)
    assert all(piece.text for piece in prompt.pieces)
    assert [piece.text for piece in prompt.pieces if piece.is_field] == [
        row[name] for name, _ in fields
    ]
    # What is called so is not of the prompt's text.
    assert not [name for name in found if name in ("answer", "bos") or name.startswith("answer_")]


def test_a_word_that_occurs_again_is_counted():
    assert names_of("a A {x} a {x} \n a") == [
        *("a", "a_2nd", "space", "x", "a_3rd", "space_2nd", "x_2nd", "a_4th"),
    ]


def test_words_may_occur_more_than_a_hundred_times():
    found = names_of("," * 123 + "{x}")

    assert found[:4] == ["comma", "comma_2nd", "comma_3rd", "comma_4th"]
    assert found[10:13] == ["comma_11th", "comma_12th", "comma_13th"]
    assert found[20:24] == ["comma_21st", "comma_22nd", "comma_23rd", "comma_24th"]
    assert found[110:113] == ["comma_111th", "comma_112th", "comma_113th"]
    assert found[120:123] == ["comma_121st", "comma_122nd", "comma_123rd"]


def test_the_word_answer_of_a_prompt_is_not_taken_for_the_answer():
    assert names_of("Answer: {x} bos") == ["prompt_answer", "colon", "space", "x", "prompt_bos"]


@pytest.mark.parametrize("sign", string.punctuation)
def test_every_sign_of_ascii_has_a_name_of_letters(sign):
    (name,) = set(names_of(f"{sign * (1 + (sign in '{}'))}{{x}}")) - {"x"}

    assert name.replace("_", "").isalpha()
    assert name.isascii()


@pytest.mark.parametrize("blank", " \t\n\r\xa0\u2003")
def test_white_space_alone_has_a_name_that_can_be_seen(blank):
    (name,) = set(names_of(f"{blank}{{x}}")) - {"x"}

    assert name in ("space", "newline", "tab")


def test_prompts_of_one_template_have_the_same_pieces():
    template = Template(text="{a} or {b}?", answer=" {a}", wrong_answer=" {b}")

    one, other = template.fill([{"a": "x", "b": "y"}, {"a": "p q", "b": "r"}])

    assert [piece.name for piece in one.pieces] == [piece.name for piece in other.pieces]
    assert (other.text, other.answer, other.wrong_answer) == ("p q or r?", " p q", " r")


def test_values_are_numbers_only_where_all_are():
    rows = [
        {"x": "1", "code": "007", "size": "1e3", "group": "nan"},
        {"x": "2", "code": "B", "size": "", "group": "2"},
    ]

    one, other = Template(text="{x}", answer="{x}").fill(rows)

    assert one.values == {"x": 1.0, "code": "007", "size": 1000.0, "group": "nan"}
    assert other.values == {"x": 2.0, "code": "B", "group": "2"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"The template is empty: there must be a prompt before the answer"),
        ("of {country", r"'of \{country' cannot be read: expected '\}' before end of string\. Fi"),
        ("of country}", r"cannot be read: Single '\}' encountered in format string\. Fields are "),
        ("of {}", r"'of \{\}' has a field \{\} that is no plain name: write \{country\}, and \{\{"),
        ("of {0}", r"has a field \{0\} that is no plain name"),
        ("of {a.b}", r"has a field \{a\.b\} that is no plain name"),
        ("of {a b}", r"has a field \{a b\} that is no plain name"),
        ("of {a!r}", r"has a field \{a\} that is no plain name"),
        ("of {a:3}", r"has a field \{a\} that is no plain name"),
    ],
)
def test_templates_that_cannot_be_filled_are_refused(text, told):
    with pytest.raises(PromptError, match=told):
        Template(text=text, answer=" x")


@pytest.mark.parametrize("text", ["The capital is", "{{country}} is"])
def test_a_template_without_a_field_is_one_prompt(text):
    template = Template(text=text, answer=" Paris")

    (prompt,) = template.fill([{}])

    assert not template.has_fields
    assert prompt.text == text.replace("{{", "{").replace("}}", "}")
    assert not any(piece.is_field for piece in prompt.pieces)
    assert (prompt.answer, prompt.values) == (" Paris", {})


def test_a_field_of_the_answer_alone_makes_prompts_of_one_text():
    template = Template(text="It is", answer=" {city}")

    prompts = template.fill([{"city": "Paris"}, {"city": "Rome"}])

    assert template.has_fields
    assert [prompt.text for prompt in prompts] == ["It is", "It is"]
    assert [prompt.answer for prompt in prompts] == [" Paris", " Rome"]


def test_a_field_of_the_answer_that_cannot_be_read_is_refused():
    with pytest.raises(PromptError, match=r"' \{x' cannot be read"):
        Template(text="{x}", answer=" {x").fill([{"x": "1"}])


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (
            Template(text="of {contry}", answer="x"),
            r"'of \{contry\}' has the field 'contry', for which there are no values\. Did you mean "
            r"country\?",
        ),
        (
            Template(text="of {country}", answer=" {town}"),
            r"' \{town\}' has the field 'town', for which there are no values\. There are country",
        ),
        (
            Template(text="of {country}", answer="x", wrong_answer=" {other}"),
            r"' \{other\}' has the field 'other'",
        ),
    ],
)
def test_fields_without_values_are_refused(template, told):
    with pytest.raises(PromptError, match=told):
        template.fill([{"country": "Peru"}])


@pytest.mark.parametrize("row", [{"country": ""}, {"land": "Peru"}])
def test_a_row_without_a_value_is_refused(row):
    template = Template(text="of {country}", answer="x")

    with pytest.raises(PromptError, match=r"The field 'country' has no value in row 2\."):
        template.fill([{"country": "Peru"}, row])


def test_a_template_without_rows_is_refused():
    with pytest.raises(PromptError, match=r"There are no values for the template's fields\."):
        Template(text="of {country}", answer="x").fill([])
