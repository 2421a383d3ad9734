import pytest

from backlight import errors
from backlight.errors import BacklightError, RunError, UnknownSiteError, UsageError, nearest

CLASSES = [
    getattr(errors, name) for name in errors.__all__ if isinstance(getattr(errors, name), type)
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
