"""The doctor's page in a browser."""

import json

import pytest

from backlight import cli

NAMES = ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "\u202ethgil", "]]>")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The page of a log whose layers bear hostile names, and whose norms vanish."""
    place = tmp_path_factory.mktemp("doctor")
    norms = {name: 10.0 ** (place - 6) for place, name in enumerate(NAMES)}
    lines = [json.dumps({"step": step, "norms": norms, "loss": 3.0}) for step in range(1, 6)]
    (place / "log.jsonl").write_text("\n".join(lines), encoding="utf-8")
    words = ["doctor", str(place / "log.jsonl"), "--html", str(place / "page.html")]
    assert cli.main(words) == 1
    return place / "page.html"


def test_it_tells_what_was_found_and_shows_pictures(file, opened, pictured):
    page = opened(file, ready=False)

    assert "vanishing" in page.inner_text("h1")
    assert page.locator("img").count() > 0
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    pictured(page, "doctor")
