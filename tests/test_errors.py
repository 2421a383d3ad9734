from pathlib import Path

import pytest

from backlight import errors
from backlight.errors import BacklightError, RunError, UnknownSiteError, UsageError, nearest, quoted

CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, BacklightError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_its_place_in_the_tree(kind):
    written = [line for line in errors.__doc__.splitlines() if kind.__name__ in line.split()]

    assert len(written) == 1
    if kind not in (BacklightError, UsageError, RunError):
        above = written[0].startswith("|   ")
        assert issubclass(kind, UsageError) == above
        assert issubclass(kind, RunError) == (not above)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_users_mistake_exits_with_2_and_a_failure_with_1(kind):
    assert kind.exit_status == (2 if issubclass(kind, UsageError) else 1)


def test_an_unknown_site_names_its_neighbours():
    with pytest.raises(
        UnknownSiteError,
        match=r"no site 'layers.0.atn.out' among its 2\. Did you mean layers\.0\.attn\.out",
    ):
        raise UnknownSiteError("layers.0.atn.out", ["layers.0.attn.out", "layers.0.mlp.out"])


def test_a_site_like_no_other_points_to_the_list():
    error = UnknownSiteError("zzz", ["layers.0.attn.out"])

    assert str(error).endswith("See backlight sites MODEL.")
    assert error.name == "zzz"


def test_the_nearest_names_come_first():
    assert nearest("mlp.ou", ["mlp.in", "mlp.out"]) == "Did you mean mlp.out or mlp.in?"


def test_nothing_close_is_said_otherwise():
    assert nearest("zzz", ["mlp.out"], otherwise="Ask for help.") == "Ask for help."
    assert not nearest("zzz", ["mlp.out"])


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        "\x1b" * 10**6,
        [["x" * 1000] * 1000] * 1000,
        dict.fromkeys(range(1000), "y" * 100),
        10**100_000,
        -(10**3000),
        [10**100_000],
        Path("p" * 5000),
        None,
        float("nan"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_foreign_value_is_quoted_with_at_most_200_characters(value):
    told = quoted(value)

    assert 0 < len(told) <= 200
    assert told.isprintable()


def test_a_bomb_of_shared_lists_is_quoted_at_once():
    bomb = [1]
    for _ in range(60):
        bomb = [bomb] * 10
    assert len(quoted(bomb)) <= 200


def test_what_is_short_is_quoted_as_python_writes_it():
    assert quoted("a'b\n") == repr("a'b\n")
    assert quoted([1, "a", None]) == "[1, 'a', None]"
    assert quoted(Path("a/b")) == "'a/b'"
