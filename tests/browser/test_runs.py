"""The page of each kind of run, and the index of all of them, as people use them."""

import pytest
import torch

import backlight
from backlight import cli
from backlight.dictionaries.formats import saelens
from zoo.browsing import obstacles, section, told, wait_for, walk
from zoo.dictionaries import random_dictionary

_TEXTS = [f"distance(c_{city},c_{city * 7 % 900 + 1})=" for city in range(1, 13)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run of each kind, of the small shipped model where one is needed."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("place")
    saelens.write(
        random_dictionary(128, num_features=512, dtype=torch.float32),
        place / "sae" / "layer_1",
        model_name="city",
        hook_name="blocks.1.hook_mlp_out",
        notes={"neuronpedia_id": "city/1-mlp"},
    )
    folder = place / "runs"
    corpus = {"model_name": "city", "dataset": _TEXTS, "figures": "none", "device": "cpu"}
    backlight.layers(**corpus, output_dir=folder / "layers")
    backlight.flow(**corpus, output_dir=folder / "flow")
    backlight.sae(
        **corpus,
        sae_path=place / "sae",
        allow_poor_reconstruction=True,
        output_dir=folder / "sae",
    )
    backlight.tokens(
        task_type="distance", n_samples=6, figures="none", output_dir=folder / "tokens"
    )
    words = ["lab", "softmax-scale", "--seeds", "1", "--num_queries", "16", "--figures", "none"]
    assert cli.main([*words, "--output_dir", str(folder / "lab")]) == 0
    assert cli.main(["open", str(folder), "--no_browser"]) == 0
    return folder


def come_to_all(page):
    """Come to every view, so that it is drawn."""
    for view in page.locator(".view").all():
        view.scroll_into_view_if_needed()
        wait_for(page, lambda view=view: view.locator(".stage svg, tbody").count() > 0, "a view")


@pytest.mark.parametrize("kind", ["layers", "sae", "tokens", "flow", "lab", "."])
def test_a_page_opens_from_disk_and_shows_all_its_views(kind, runs, opened, pictured):
    file = runs / kind / "index.html"

    page = opened(file)
    come_to_all(page)

    assert file.stat().st_size < 3_000_000
    assert page.locator("h1").inner_text()
    assert page.locator("header > p").count() in (range(1, 4) if kind != "lab" else range(1, 10))
    assert "NaN" not in page.locator("body").inner_text()
    assert "undefined" not in page.locator("body").inner_text()
    for stage in page.locator(".stage").all():
        assert stage.locator(":scope > svg :is(path, rect)").count() > 3
        stage.focus()
        stage.press("ArrowRight")
        wait_for(page, stage.locator(".told").is_visible, "something is told")
        assert "NaN" not in stage.locator(".told").inner_text()
    assert obstacles(page) == []
    page.set_viewport_size({"width": 390, "height": 900})
    page.wait_for_timeout(50)
    assert obstacles(page) == []
    pictured(page, f"run-{kind.replace('.', 'index')}")


def test_layers_every_dimension_of_every_layer_is_pointed_at(runs, opened):
    page = opened(runs / "layers" / "index.html")
    cloud = section(page, "Every dimension")

    cloud.get_by_role("combobox", name="Layer", exact=True).select_option(label="3")
    picture = cloud.locator(".stage > svg[aria-label*='of layer 3']")
    wait_for(page, lambda: picture.count() == 1, "layer 3 is shown")

    assert "128 dimensions" in picture.get_attribute("aria-label")
    text = walk(cloud, "ArrowRight")
    assert text.startswith("dimension ")
    assert "±" in text
    cloud.locator(".stage").press("Enter")
    assert f"Layer 3, {text.splitlines()[0]}" in cloud.locator(".detail").inner_text()
    assert cloud.locator(".detail li mark").count() > 0


def test_sae_features_lead_to_neuronpedia(runs, opened):
    cloud = section(opened(runs / "sae" / "index.html"), "Every feature")

    assert "512 features" in cloud.locator(".stage > svg").get_attribute("aria-label")
    links = [link.get_attribute("href") for link in cloud.get_by_role("link").all()]
    assert any(link.startswith("https://www.neuronpedia.org/city/1-mlp/") for link in links)


def test_tokens_prompts_are_stepped_through_and_tokens_are_real(runs, opened):
    page = opened(runs / "tokens" / "index.html")
    cells = page.locator("section").filter(has=page.get_by_role("combobox", name="Prompt")).first
    menu = cells.get_by_role("combobox", name="Prompt")

    mean = walk(cells, *["ArrowRight"] * 3)
    menu.select_option(index=2)
    page.wait_for_timeout(100)
    one = walk(cells, *["ArrowRight"] * 3)

    assert menu.locator("option").count() == 7  # the mean, and each prompt
    assert mean != one
    tokens = [walk(cells, "ArrowRight") for _ in range(6)]
    assert any("(" in text for text in tokens)
    assert "d i s t" in walk(section(page, "Gradient vectors, prompt by prompt"), "ArrowRight")


def test_flow_tells_its_numbers_where_it_is_pointed_at(runs, opened):
    page = opened(runs / "flow" / "index.html")
    drawn = page.locator("section").filter(has=page.locator(".stage")).first

    texts = {walk(drawn, "ArrowRight") for _ in range(8)}

    assert len(texts) > 3
    assert any("attention" in text.lower() for text in texts)
    page.mouse.move(2, 2)
    ring = drawn.locator(".ring").bounding_box()
    page.mouse.move(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
    assert told(drawn)


def test_the_index_is_sorted_and_searched_and_leads_to_the_pages(runs, opened):
    page = opened(runs / "index.html")
    found = section(page, "Runs")

    links = [link.get_attribute("href") for link in found.get_by_role("link").all()]
    assert {str((runs / link).resolve()) for link in links} == {
        str(runs / kind / "index.html") for kind in ("layers", "sae", "tokens", "flow", "lab")
    }
    found.get_by_role("button", name="command").click()
    commands = found.locator("tbody tr td:nth-child(2)").all_inner_texts()
    assert commands == sorted(commands)
    found.get_by_label("Search").fill("flow")
    assert found.locator("tbody tr").count() == 1
