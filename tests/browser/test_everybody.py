"""Pages are for everybody: read aloud, by the keyboard alone, dark, narrow, without scripts."""

import re

import pytest

from backlight.report.page.document import document
from zoo.browsing import obstacles, section, wait_for
from zoo.pages import every_view

_TITLES = ("Depth profile", "Every dimension", "Where the gradient sits", "Each prompt is a point")
_TITLES += ("How it flows", "The largest")
_TO_THE_LAST_ROW = """
    document.activeElement.closest("tbody").querySelector("tr:last-child :is(button, a)")?.focus()
"""
_TEXT, _SHAPES = 4.5, 3.0  # the least contrasts of WCAG AA


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("every") / "index.html"
    path.write_bytes(document(every_view()))
    return path


def luminance(colour):
    """Compute how light a colour such as ``rgb(1, 2, 3)`` is, as WCAG 2 does."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def test_contrasts_are_those_of_wcag_aa():
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_and_shapes_stand_out_from_the_ground(dark, file, opened):
    page = opened(file, dark=dark)
    for title in _TITLES:
        section(page, title)

    faint = []
    found = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter(each => each.checkVisibility() && !each.matches("svg *, option"))
            .filter(each => each.matches("input, select")
                || [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
            .map(each => {
                let ground = each;
                const of = other => getComputedStyle(other).backgroundColor;
                const isClear = () => of(ground) === "rgba(0, 0, 0, 0)" && ground.parentElement;
                while (isClear()) ground = ground.parentElement;
                return [each.outerHTML.slice(0, 80), getComputedStyle(each).color, of(ground)];
            })"""
    )
    assert len(found) > 30
    faint += [each for each in found if contrast(*each[1:]) < _TEXT]
    colours = page.evaluate(
        """() => Object.fromEntries(
            "paper soft star first second third fourth fifth sixth".split(" ").map(name => {
                const sample = document.body.appendChild(document.createElement("i"));
                sample.style.color = `var(--${name})`;
                return [name, getComputedStyle(sample).color];
            }))"""
    )
    faint += [
        (name, colour)
        for name, colour in colours.items()
        if name != "paper" and contrast(colour, colours["paper"]) < _SHAPES
    ]
    assert faint == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pictures_have_the_ground_of_the_page(dark, file, opened):
    page = opened(file, dark=dark)
    found = section(page, "Each prompt is a point")

    def ground():
        return found.locator("svg rect").first.evaluate("rect => getComputedStyle(rect).fill")

    before = ground()
    assert before == page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="light" if dark else "dark")
    wait_for(page, lambda: ground() != before, "the picture has the other ground")
    assert ground() == page.evaluate("getComputedStyle(document.body).backgroundColor")


@pytest.mark.parametrize("width", [1280, 390])
def test_everything_has_a_name_headings_are_in_order_and_nothing_is_too_wide(width, file, opened):
    page = opened(file, width=width)
    for title in _TITLES:
        section(page, title)

    assert obstacles(page) == []


def test_obstacles_are_found(opened, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text(
        "<!DOCTYPE html><title>bad</title><h2>second</h2><h4>fourth</h4><input><button></button>"
        "<div class='stage'><svg></svg></div><img src='data:,'><p style='width: 3000px'>wide</p>"
    )

    assert len(obstacles(opened(path, ready=False))) == 10


def test_the_keyboard_reaches_every_control_and_sees_where_it_is(file, opened):
    page = opened(file)
    for title in _TITLES:
        section(page, title)
    wanted = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, .stage, .scroll, a[href]")]
            .filter(each => each.checkVisibility() && !each.closest("tbody")).length"""
    )
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("document.body.focus()")

    reached, unseen = set(), []
    for _ in range(2000):
        page.keyboard.press("Tab")
        tag, place, outline, in_table = page.evaluate(
            """() => {
                const now = document.activeElement;
                const all = [...document.querySelectorAll("*")];
                return [now.tagName, all.indexOf(now), getComputedStyle(now).outlineStyle,
                    Boolean(now.closest("tbody"))];
            }"""
        )
        if tag == "BODY" or (tag, place) in reached:
            break
        if in_table:
            page.evaluate(_TO_THE_LAST_ROW)
            continue
        reached.add((tag, place))
        unseen += [tag] if outline == "none" else []

    tags = [tag for tag, _ in reached]
    assert sum(tag in ("BUTTON", "SELECT", "INPUT", "DIV", "A") for tag in tags) == wanted
    assert unseen == []


def test_without_scripts_all_that_is_text_is_there(file, opened):
    page = opened(file, ready=False, scripts=False)

    text = page.inner_text("body")

    for told in ("What was asked of light.", "What was found.", "Where it went.", "switched off"):
        assert told in text
    for told in (*_TITLES, "Bands are intervals of light.", "It was light.", "How it was made"):
        assert told in text
    assert "backlight layers --model_name light" in text
    assert "0123456" in page.locator("footer").text_content()
