"""Twenty runs of hostile corpora, tokens and names: their pages are inert in a real browser."""

import shutil
from dataclasses import replace
from itertools import pairwise
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pytest

import backlight
from backlight import cli
from backlight.foreign.text import plain
from backlight.report.page.document import document
from backlight.surveys.driver.results.showing import page_of
from backlight.surveys.features.page import views
from zoo.browsing import section, walk
from zoo.hostile_houses import ATTACKS, build
from zoo.pages import every_view

_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer"),
    *("noscript", "script", "h1", "h2", "h3", "p", "span", "strong", "div", "a", "ul", "li"),
    *("button", "label", "select", "option", "input", "table", "thead", "tbody", "tr", "th", "td"),
    *("mark", "pre", "details", "summary", "dl", "dt", "dd", "img"),
    *("svg", "rect", "path", "text", "g", "clipPath", "image"),
}
_LINKS = ("https://www.neuronpedia.org/", "data:image/png;base64,", "blob:")


def assert_inert(page, num_scripts, links=_LINKS):
    """Check that a page holds nothing but what pages of backlight are made of."""
    tags = page.evaluate("[...document.querySelectorAll('*')].map(each => each.localName)")
    assert set(tags) <= _TAGS
    assert tags.count("script") == num_scripts
    attributes = page.evaluate(
        """() => [...document.querySelectorAll("*")].flatMap(each => [...each.attributes])
            .map(each => [each.name, each.value])"""
    )
    assert {name for name, _ in attributes if name.startswith("on") or name == "style"} <= {"style"}
    found = {value for name, value in attributes if name in ("href", "src", "action", "formaction")}
    assert {link for link in found if not link.startswith(links)} == set()


@pytest.mark.parametrize("house", ATTACKS)
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_text_of_strangers_is_only_text_wherever_it_stands(house, scripts, opened, tmp_path):
    word = " ".join(ATTACKS[house])
    path = tmp_path / "index.html"
    content = document(every_view(word, unit=word, color=word))
    path.write_bytes(content)
    page = opened(path, scripts=scripts, ready=False)

    assert_inert(page, content.count(b"<script"))
    shown = plain(word)
    assert page.locator("h1").text_content() == f"A page about {shown}"
    assert page.title().split() == f"A page about {shown}".split()
    assert page.locator("footer pre").text_content() == f"backlight layers --model_name {shown}"
    assert page.locator("section h2").last.text_content().startswith(f"What {shown} means")
    if not scripts:
        return
    cloud = section(page, "Every ")
    cloud.get_by_role("combobox", name="Layer", exact=True).select_option(label="2")
    page.wait_for_timeout(100)
    detail = cloud.locator(".detail")
    assert detail.locator("h3").text_content() == f"Layer 2, {shown} 7"
    assert detail.locator("mark").all_text_contents() == [shown, shown]
    assert cloud.locator("tbody tr").first.locator("td").last.text_content() == (
        f"before «{shown}» after"
    )
    assert cloud.locator("option").last.text_content() == f"size of {shown}"
    found = section(page, "Each prompt")
    assert f" {shown} =" in walk_whole(found, "ArrowRight")
    assert walk_whole(section(page, "How it flows"), "ArrowRight") == f"attention of {shown}: 0.42"
    table = section(page, "The largest")
    assert table.locator("tbody tr").nth(23).locator("td").last.text_content() == shown
    assert_inert(page, content.count(b"<script"))


def walk_whole(found, key):
    """Walk, and read what is told as it stands in the document: spaces are kept."""
    walk(found, key)
    return found.locator(".told").text_content()


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """All houses, each built when it is asked for."""
    built = {}

    def house(name):
        if name not in built:
            built[name] = build(name, tmp_path_factory.mktemp(name))
        return built[name]

    return house


def measured(kind, house, name=None):
    """Make a run of a house, without figures."""
    common = {"device": "cpu", "figures": "none", "output_dir": house.places / (name or kind)}
    corpus = {"dataset": house.text, "num_samples": 12, "max_length": 16}
    if kind == "tokens":
        fields = [{"thing": one, "other": two} for one, two in pairwise(house.tokens)]
        return backlight.tokens(
            model_name=house.model,
            template="a {thing} b <i>$\\frac$ is",
            answer=" {other}",
            fields=fields,
            color_by="thing",
            **common,
        )
    if kind == "sae":
        corpus |= {"sae_path": house.dictionaries, "allow_poor_reconstruction": True}
    return getattr(backlight, kind)(model_name=house.model, **corpus, **common)


_READ = """async () => {
    const frame = () => new Promise(requestAnimationFrame);
    const drawn = async view => { while (!view.querySelector(".stage svg, tbody")) await frame(); };
    document.querySelectorAll("details").forEach(each => (each.open = true));
    const told = [];
    for (const view of document.querySelectorAll(".view")) {
        view.scrollIntoView();
        await drawn(view);
        for (const menu of view.querySelectorAll("select")) {
            menu.selectedIndex = menu.options.length - 1;
            menu.dispatchEvent(new Event("change"));
            await frame();
            await drawn(view);
        }
        for (const stage of view.querySelectorAll(".stage"))
            for (const key of ["ArrowRight", "ArrowUp", "Enter"]) {
                stage.dispatchEvent(new KeyboardEvent("keydown", { key }));
                told.push(stage.querySelector(".told").textContent);
            }
    }
    return [document.body.innerText, ...told].join("\\n");
}"""
"""Comes to every view, makes every choice, points at something in each, and reads everything."""


@pytest.mark.parametrize("house", ATTACKS)
@pytest.mark.parametrize("kind", ["layers", "sae", "tokens", "flow"])
def test_the_page_of_a_hostile_run_is_inert(kind, house, houses, opened):
    results = measured(kind, houses(house))
    file = results.path / "index.html"

    page = opened(file)
    text = page.evaluate(_READ)

    assert_inert(page, file.read_bytes().count(b"<script"))
    assert plain(houses(house).model) in page.locator("h1").text_content()
    assert plain(houses(house).model) in page.locator("footer dl").text_content()
    if kind in ("layers", "sae"):
        assert plain(results.tables["top_tokens"]["token"][0])[:200] in text


def test_links_that_a_table_was_given_lead_to_neuronpedia_or_nowhere(houses, opened, tmp_path):
    results = measured("sae", houses("quotes"), name="given links")
    table = results.tables["top_features"]
    bad = [f"{each}https://www.neuronpedia.org/" for each in ("javascript:alert(1)//", " ", "//x?")]
    links = np.array((bad * table.num_rows)[: table.num_rows], dtype=object)
    links[-1] = 'https://www.neuronpedia.org/"onclick=alert(1)'
    given = replace(table, columns={**table.columns, "neuronpedia": links})
    run = replace(results, tables={**results.tables, "top_features": given})
    path = tmp_path / "index.html"
    path.write_bytes(document(page_of(run, "sae", ["A run."], views(run))))

    page = opened(path)
    text = page.evaluate(_READ)

    assert "javascript:" not in text
    assert_inert(page, path.read_bytes().count(b"<script"))
    cloud = section(page, "Every feature")
    cloud.get_by_label("Find feature").fill(str(table["feature"][-1]))
    cloud.get_by_label("Find feature").press("Enter")
    assert cloud.get_by_role("link").get_attribute("href") == links[-1]


def test_an_index_of_runs_in_hostile_folders_leads_to_each_of_them(houses, opened, tmp_path):
    names = ["<img src=x onerror=alert(1)>", "javascript:alert(1)", "a?b#c%2e&amp;", "'\"", "«»"]
    run = measured("layers", houses("markup"), name="run").path
    for name in names:
        shutil.copytree(run, tmp_path / "runs" / name)
    assert cli.main(["open", str(tmp_path / "runs"), "--no_browser"]) == 0
    file = tmp_path / "runs" / "index.html"

    page = opened(file)
    page.evaluate(_READ)

    table = section(page, "Runs").locator("tbody")
    assert set(table.locator("td:first-child").all_text_contents()) == set(names)
    addresses = table.evaluate("body => [...body.querySelectorAll('a')].map(each => each.href)")
    assert {url2pathname(urlsplit(address).path) for address in addresses} == {
        str(tmp_path / "runs" / name / "index.html") for name in names
    }
    assert_inert(page, file.read_bytes().count(b"<script"), links=("data:image/png;base64,", ""))


@pytest.mark.parametrize("house", ["markup", "quotes"])
def test_results_that_show_themselves_in_a_notebook_are_inert(house, houses, opened, tmp_path):
    results = measured("layers", houses(house), name="shown")
    path = tmp_path / "cell.html"
    path.write_text(f"<!DOCTYPE html><title>cell</title>{results._repr_html_()}", encoding="utf-8")

    page = opened(path, ready=False)

    assert plain(results.tables["top_tokens"]["token"][0]) in page.locator("body").text_content()
    tags = set(page.evaluate("[...document.querySelectorAll('*')].map(each => each.localName)"))
    assert not tags & {"script", "iframe", "base", "link", "style", "form", "b", "object", "embed"}
