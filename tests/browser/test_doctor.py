"""The doctor's page in a browser."""

import json

import pytest

from backlight import cli
from zoo.browsing import section, walk

NAMES = ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "\u202ethgil", "]]>")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The page of a log whose layers bear hostile names, and whose norms vanish."""
    place = tmp_path_factory.mktemp("doctor")
    norms = {name: 10.0 ** (place - 6) for place, name in enumerate(NAMES)}
    lines = [json.dumps({"step": step, "norms": norms, "loss": 3.0}) for step in range(1, 6)]
    lines.append(json.dumps({"step": 6, "norms": {**norms, NAMES[0]: "NaN"}, "loss": "NaN"}))
    (place / "log.jsonl").write_text("\n".join(lines), encoding="utf-8")
    words = ["doctor", str(place / "log.jsonl"), "--html", str(place / "page.html")]
    assert cli.main(words) == 1
    return place / "page.html"


def test_it_tells_what_was_found_and_shows_pictures(file, opened, pictured):
    page = opened(file)

    assert "vanishing" in page.inner_text("h1")
    course = section(page, "What was recorded")
    assert course.locator(".stage > svg").count() == 2
    assert "finding 2: step 6" in course.locator(".stage > svg").first.text_content()
    pictured(page, "doctor")


def test_a_cell_tells_its_place_its_step_and_what_was_seen(file, opened):
    found = section(opened(file), "Gradient by place and step")

    assert (
        walk(found, *["ArrowRight"] * 6)
        == f"block {NAMES[0]}\noptimizer step: 6, finding 2\nNaN or infinite"
    )
