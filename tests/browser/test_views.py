"""Every kind of view in a browser: looked at, pointed at, chosen, sorted, zoomed and saved."""

import io
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from backlight.report.page.document import document
from zoo.browsing import picture, section, told, wait_for, walk
from zoo.pages import every_view

_CHART, _CLOUD, _CELLS = "Depth profile", "Every dimension", "Where the gradient sits"
_SCATTER, _DRAWING, _ROWS = "Each prompt is a point", "How it flows", "The largest"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("every") / "index.html"
    path.write_bytes(document(every_view()))
    return path


@pytest.fixture
def page(file, opened):
    return opened(file)


def choose(found, label, option):
    """Choose in a menu, and wait until the picture is another one."""
    before = picture(found)
    found.get_by_role("combobox", name=label, exact=True).select_option(label=option)
    wait_for(found.page, lambda: picture(found) != before, f"{label}: {option}")


def hover_where_the_ring_is(found):
    """Point with the mouse at what the keyboard has reached, and read what is told."""
    ring = found.locator(".ring").bounding_box()
    found.page.mouse.move(2, 2)
    found.locator(".stage").blur()
    assert told(found) == ""
    found.page.mouse.move(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
    return told(found)


def rows_of(found):
    """Read the table, row by row."""
    return found.locator("tbody").evaluate(
        "body => [...body.rows].map(row => [...row.cells].map(cell => cell.innerText))"
    )


def test_views_are_drawn_when_they_are_come_to(page, pictured):
    assert page.locator("section svg").count() > 0
    assert page.locator("section").last.locator("svg, table").count() == 0

    for title in (_CHART, _CLOUD, _CELLS, _SCATTER, _DRAWING, _ROWS):
        section(page, title)

    assert page.locator(".stage > svg").count() == 6
    pictured(page, "every-view")


def test_a_line_tells_its_points_with_their_intervals(page):
    chart = section(page, _CHART).locator(".side-by-side > div").first

    assert walk(chart, "ArrowRight") == (
        "measured\nlayer: 0\nnorm (light): 1\ninterval: 0.8 to 1.2"
    )
    assert "layer: 0" in hover_where_the_ring_is(chart)
    assert "layer: 5" in walk(chart, *["ArrowRight"] * 5)


def test_a_layer_and_a_statistic_are_chosen_and_a_dimension_is_pointed_at(page):
    cloud = section(page, _CLOUD)
    assert "of layer 0" in cloud.locator(".stage > svg").get_attribute("aria-label")

    choose(cloud, "Layer", "2")
    assert "of layer 2" in cloud.locator(".stage > svg").get_attribute("aria-label")
    assert rows_of(cloud)[0][:2] == ["7", "0.5"]
    detail = cloud.locator(".detail")
    assert "Layer 2, dimension 7" in detail.inner_text()
    assert "mean (nats/unit): 0.5 ± 1e−4" in detail.inner_text()
    assert "before light after" in detail.inner_text()
    assert detail.locator("mark").first.inner_text() == "light"
    assert detail.get_by_role("link").get_attribute("href") == (
        "https://www.neuronpedia.org/a-model/a-source/7"
    )

    assert walk(cloud, "ArrowUp").startswith("dimension ")  # the smallest, then the next larger
    assert walk(cloud, "ArrowDown", *["ArrowRight"] * 3).startswith("dimension ")
    choose(cloud, "Layer", "5")
    choose(cloud, "Statistic", "size of light")
    assert rows_of(cloud)[0][0] == "11"


def test_the_mouse_finds_the_dimension_that_stands_out(page):
    cloud = section(page, _CLOUD)
    choose(cloud, "Layer", "2")
    walk(cloud, "ArrowLeft")  # from nowhere to the last one
    walk(cloud, *["ArrowRight"] * 2)

    cloud.get_by_label("Find dimension").fill("7")
    cloud.get_by_label("Find dimension").press("Enter")

    assert "Layer 2, dimension 7" in cloud.locator(".detail").inner_text()
    for _ in range(8):
        text = walk(cloud, "ArrowLeft")
    assert "mean (nats/unit)" in text
    assert hover_where_the_ring_is(cloud) == text


def test_the_dimension_that_is_looked_for_is_marked_and_stays_in_the_middle(page):
    cloud = section(page, _CLOUD)
    cloud.get_by_label("Find dimension").fill("5")
    cloud.get_by_label("Find dimension").press("Enter")
    assert told(cloud).startswith("dimension 5\n")

    cloud.get_by_role("button", name="Zoom in").click()

    assert told(cloud).startswith("dimension 5\n")
    stage, ring = (cloud.locator(name).bounding_box() for name in (".stage", ".ring"))
    middle = ring["x"] + ring["width"] / 2 - stage["x"]
    assert abs(middle - (72 + (stage["width"] - 84) / 2)) < 3


def test_a_number_in_the_table_marks_its_dimension(page):
    cloud = section(page, _CLOUD)
    number = cloud.locator("tbody tr td button").nth(2)

    number.click()

    assert told(cloud).startswith(f"dimension {number.inner_text()}\n")


def test_what_a_finger_touches_is_told_after_it_is_lifted(page):
    found = section(page, _CELLS)
    stage = found.locator(".stage")
    box = stage.bounding_box()
    place = {
        "clientX": box["x"] + box["width"] / 2,
        "clientY": box["y"] + box["height"] / 2,
        "pointerType": "touch",
    }

    for event in ("pointerdown", "pointerup", "pointerleave"):
        stage.dispatch_event(event, place)

    assert told(found) != ""


def test_enter_tells_more_of_the_dimension_that_the_keyboard_has_reached(page):
    cloud = section(page, _CLOUD)
    first = walk(cloud, "ArrowRight").splitlines()[0]

    cloud.locator(".stage").press("Enter")

    assert f"Layer 0, {first}" in cloud.locator(".detail").inner_text()


def test_the_last_choice_wins(page):
    cloud = section(page, _CLOUD)

    cloud.get_by_role("combobox", name="Layer", exact=True).evaluate(
        """menu => { for (const place of ["1", "2", "1", "2", "0"]) {
            menu.value = place;
            menu.dispatchEvent(new Event("change"));
        } }"""
    )
    page.wait_for_timeout(300)

    assert "of layer 0" in cloud.locator(".stage > svg").get_attribute("aria-label")
    assert "Layer 0, dimension 478" in cloud.locator(".detail").inner_text()
    assert rows_of(cloud)[0][0] == "478"
    assert cloud.locator(".stage > svg").count() == 1


def test_a_picture_that_is_gone_is_drawn_no_more(page):
    cloud = section(page, _CLOUD)
    for layer in ("2", "5", "0"):
        choose(cloud, "Layer", layer)
    page.evaluate(
        """() => {
            const make = document.createElementNS;
            window.made = 0;
            document.createElementNS = function (space, name) {
                window.made += name === "svg";
                return make.call(this, space, name);
            };
        }"""
    )
    before = page.locator(".stage svg").count()

    page.set_viewport_size({"width": 800, "height": 900})
    wait_for(page, lambda: page.evaluate("made") >= before, "the page is drawn anew")
    page.wait_for_timeout(200)

    assert page.evaluate("made") == before


@pytest.mark.parametrize("title", [_CLOUD, _SCATTER])
def test_it_is_zoomed_by_the_mouse_by_buttons_and_by_keys_and_back(title, page):
    found = section(page, title)
    whole = picture(found)
    box = found.locator(".stage").bounding_box()

    page.mouse.dblclick(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
    assert picture(found) != whole
    found.get_by_role("button", name="Whole").click()
    assert picture(found) == whole

    found.get_by_role("button", name="Zoom in").click()
    closer = picture(found)
    assert closer != whole
    found.get_by_role("button", name="Zoom out").click()
    walk(found, "0", "+")
    assert picture(found) == closer
    walk(found, "0")
    assert picture(found) == whole


def test_cells_tell_their_numbers_or_why_there_is_none(page):
    cells = section(page, _CELLS)

    text = walk(cells, "ArrowRight")
    assert "±" in text
    assert "gradient norm" in text
    assert hover_where_the_ring_is(cells) == text
    texts = [walk(cells, "ArrowUp") for _ in range(3)]
    assert sum("zero by causality" in text for text in texts) == 1

    choose(cells, "prompt", "1: light")
    choose(cells, "statistic", "gradient x activation")
    assert "gradient x activation: −" in walk(cells, "ArrowRight")


def test_a_point_tells_its_prompt(page):
    found = section(page, _SCATTER)

    text = walk(found, "ArrowRight")

    assert text.startswith("dist ")
    assert "distance: " in text
    assert hover_where_the_ring_is(found) == text
    choose(found, "Colour", "region")
    assert "region: " in walk(found, "ArrowRight")
    choose(found, "site", "light")


def test_a_shape_tells_what_it_is(page):
    found = section(page, _DRAWING)

    assert walk(found, "ArrowRight") == "attention of light: 0.42"
    assert hover_where_the_ring_is(found) == "attention of light: 0.42"


def test_a_table_is_sorted_and_searched(page):
    found = section(page, _ROWS)
    heading = found.get_by_role("button", name="norm")
    assert len(rows_of(found)) == 40

    heading.click()
    assert found.locator("th[aria-sort=descending]").inner_text().startswith("norm")
    assert rows_of(found)[0] == ["3", "9.5", "light"]
    assert rows_of(found)[-1][2] == "token5"  # its norm is not known
    heading.press("Enter")
    assert found.locator("th[aria-sort=ascending]").count() == 1
    assert rows_of(found)[0][2] == "token0"
    assert rows_of(found)[-1][2] == "token5"

    found.get_by_label("Search").fill("TOKEN3")
    assert {row[2] for row in rows_of(found)} == {"token3", *(f"token{n}" for n in range(30, 40))}
    assert "11 of 11 rows found" in found.inner_text()
    found.get_by_label("Search").fill("no such word")
    assert rows_of(found) == []


@pytest.mark.parametrize("title", [_CHART, _CLOUD, _CELLS, _SCATTER, _DRAWING])
def test_a_picture_is_saved(title, page):
    found = section(page, title)
    host = found.locator(".side-by-side > div").first if title == _CHART else found

    with page.expect_download() as saved:
        host.get_by_role("button", name="Save PNG").click()
    image = Image.open(io.BytesIO(saved.value.path().read_bytes())).convert("RGB")
    assert saved.value.suggested_filename.endswith(".png")
    assert image.width >= 800
    assert len(image.getcolors(2**24)) > 3
    assert image.getpixel((0, 0)) == (255, 255, 255)

    with page.expect_download() as saved:
        host.get_by_role("button", name="Save SVG").click()
    content = saved.value.path().read_text(encoding="utf-8")
    root = ElementTree.fromstring(content)
    assert saved.value.suggested_filename.endswith(".svg")
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = "\n".join(text for node in root.iter() for text in [node.text or ""])
    assert page.title() in texts
    assert {_CHART: "layer", _CLOUD: "mean", _CELLS: "light", _SCATTER: "PC1"}.get(
        title, "says light"
    ) in texts


def test_a_picture_that_is_saved_in_the_dark_is_for_paper(file, opened):
    found = section(opened(file, dark=True), _SCATTER)

    with found.page.expect_download() as saved:
        found.get_by_role("button", name="Save PNG").click()

    image = Image.open(io.BytesIO(saved.value.path().read_bytes())).convert("RGB")
    assert image.getpixel((0, 0)) == (255, 255, 255)
