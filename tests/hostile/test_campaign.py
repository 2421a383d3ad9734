"""The campaign's own rules: what it must notice is noticed."""

import sys

import pytest

from backlight import cli
from zoo.hostile import attack


def test_an_unknown_option_passes_the_campaign(tmp_path):
    assert attack(["layers", "--no_such_option", "1"], place=tmp_path).status == 2


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda place: 1 / 0, "division by zero"),
        (lambda place: 0, "exit 0"),
        (lambda place: sys.stdout.write("\x1b[2J") and 1, "exit 1"),
        (lambda place: (place / "victim").write_text("spoiled") and 1, "files changed"),
        (lambda place: 2, "exit 2"),
    ],
    ids=["raises", "accepts", "steers the terminal", "writes", "says nothing"],
)
def test_the_campaign_notices(harm, complaint, tmp_path, monkeypatch):
    (tmp_path / "victim").write_text("precious", encoding="utf-8")
    monkeypatch.setattr(cli, "main", lambda words: harm(tmp_path))

    with pytest.raises((AssertionError, ZeroDivisionError), match=complaint):
        attack(["layers"], place=tmp_path)
