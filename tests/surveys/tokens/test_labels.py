import numpy as np
import pytest

from backlight.errors import shorten
from backlight.surveys.tokens.labels import explain_labels, label_of
from backlight.tables import Table


def test_a_long_text_keeps_its_beginning_and_its_end():
    assert shorten("The capital of France is", 11) == "The c…ce is"
    assert shorten("short", 5) == "short"


@pytest.mark.parametrize("most", range(3, 12))
def test_a_shortened_text_has_as_many_letters_as_it_may(most):
    assert len(shorten("The capital of France is", most)) == most


@pytest.mark.parametrize(
    ("token", "position", "label"),
    [
        (" of", "of", "·of"),
        ("X", "city1_digit1", "X"),
        ("country first", "country_first", "country\nfirst"),
        ("giver_2nd", "giver_2nd", "giver_2nd"),
    ],
)
def test_a_column_shows_its_token_or_the_name_of_its_field(token, position, label):
    assert label_of(token, position) == label


def table(tokens, positions, counts):
    return Table(
        name="positions",
        columns={
            "token": np.array(tokens),
            "position": np.array(positions),
            "num_prompts": np.array(counts),
        },
    )


def test_only_signs_that_occur_are_explained():
    assert explain_labels(table(["("], ["open_paren"], [3]), 3) == []


def test_signs_and_rare_positions_are_explained():
    found = explain_labels(
        table([" of", "X", "city middle"], ["of", "digit", "city_middle"], [3, 3, 1]), 3
    )

    assert found == [
        "Tokens: · is a blank; X is any digit; where prompts differ, the name of the field stands "
        "for its token; middle is the mean over all tokens between a field's first and last.",
        "Only some prompts have these positions (so many): city_middle (1).",
    ]


def test_of_many_rare_positions_six_are_named():
    names = [f"p{number}" for number in range(9)]

    (line,) = explain_labels(table(["("] * 9, names, [1] * 9), 2)

    assert line.endswith("p4 (1), p5 (1) and 3 more.")
