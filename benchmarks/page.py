"""What the page of a large run costs: its size, its first picture, a change of layer, pointing.

    python benchmarks/page.py [--repeats 5] [--layers 24] [--features 65536] [--keep]

A `backlight sae` run of random numbers: one statistic of every feature of every layer with its
standard error, and five contexts from Shakespeare for the 200 largest features of each layer. The
page is written as the command writes it and opened from disk in the machine's own Chromium, without
graphics card, in turn with a page that has one empty picture. All times are medians over repeats.

- first picture: from the start of the navigation until a frame with the picture was shown; the
  same for the picture of every feature of the first layer. The empty page is one rectangle.
- switch: from the choice of another layer until its picture is in the page, and until the frame
  with it was shown. Each layer is chosen for the first time.
- hover: from a movement of the mouse until the text of the point is laid out.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from backlight.data.characters import shipped_text
from backlight.report.page.document import document
from backlight.runs.results import Results
from backlight.surveys.driver.results.showing import page_of
from backlight.surveys.features.options import SaeConfig
from backlight.surveys.features.page import views
from backlight.tables import Table
from zoo.browsing import chromium, installed

Arrays = dict[Any, np.ndarray]
Layers = dict[int, Arrays]
Seconds = dict[str, list[float]]

NUM_LARGEST, NUM_CONTEXTS, NUM_TOKENS = 200, 5, 100_000
NAMES = ("empty", "page", "features", "switch, script", "switch, painted", "hover")
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- page: begin -->", "<!-- page: end -->"
UNIT = "nats/unit"
OPTIONS = SaeConfig(
    model_name="random", dataset="shakespeare", sae_path="random", aggregation_mode="mean"
)
EMPTY = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>empty</title>
<svg width="1100" height="420"><rect width="1000" height="400" fill="none" stroke="black"/></svg>
<script>document.documentElement.dataset.ready = "1";</script></html>"""

WATCH = """
const shown = (name) =>
  requestAnimationFrame(() => requestAnimationFrame(() => (window[name] = performance.now())));
new MutationObserver(() => {
  if (document.documentElement?.dataset.ready === "1" && !window.picture) {
    window.picture = -1;
    shown("picture");
  }
  if (!window.features && document.querySelector(".stage svg[aria-label*=' features of layer']")) {
    window.features = -1;
    shown("features");
  }
}).observe(document, { attributes: true, childList: true, subtree: true });
"""
"""Notes when the first picture and that of every feature were shown: when the next frame begins."""

SWITCH = """async ([menu, place]) => {
  const stage = menu.closest(".view").querySelector(".stage").parentElement;
  const begun = performance.now();
  menu.value = place;
  menu.dispatchEvent(new Event("change"));
  await new Promise((done) => new MutationObserver(done).observe(stage, { childList: true }));
  const script = performance.now() - begun;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return [script, performance.now() - begun];
}"""

HOVER = """async (stage) => {
  const { left, top, width, height } = stage.getBoundingClientRect();
  const [taken, told] = [[], new Set()];
  for (let step = 1; step < 40; step++) {
    const [clientX, clientY] = [left + (width * step) / 40, top + height / 2];
    const begun = performance.now();
    stage.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
    const box = stage.querySelector(".told");
    if (box.offsetWidth) told.add(box.textContent);
    taken.push(performance.now() - begun);
    await new Promise(requestAnimationFrame);
  }
  return [taken.sort((a, b) => a - b)[20], told.size];
}"""


def results(num_layers: int, num_features: int) -> Results:
    """Make a run of random numbers as `backlight sae` leaves it."""
    random = np.random.default_rng(0)
    layers = {layer: features(num_features, random) for layer in range(num_layers)}
    largest = {
        layer: np.argsort(-np.abs(found["mean"]))[:NUM_LARGEST] for layer, found in layers.items()
    }
    tables = (
        layer_table(layers),
        dictionary_table(num_layers, num_features),
        top_table(layers, largest),
        context_table(layers, largest, random),
    )
    return Results(
        config=OPTIONS.model_dump(),
        metadata={"num_tokens": NUM_TOKENS},
        data={f"layer_{layer}_mean": found["mean"] for layer, found in layers.items()},
        statistics={
            f"layer_{layer}_{name}": values
            for layer, found in layers.items()
            for name, values in found.items()
        },
        tables={table.name: table for table in tables},
    )


def features(num_features: int, random: np.random.Generator) -> Arrays:
    """Make the statistics of one layer's features."""
    sizes = random.lognormal(-9, 1.5, num_features)
    return {
        "mean": sizes * random.choice([-1.0, 1.0], num_features),
        "mean_se": sizes * random.uniform(0.02, 0.8, num_features),
        "rms": sizes * random.uniform(2, 9, num_features),
        "frequency": random.beta(0.5, 60, num_features),
        "decoder_norm": np.ones(num_features),
    }


def layer_table(layers: Layers) -> Table:
    """Average each layer, as the survey does."""
    rows = [
        {
            "layer": layer,
            "num_tokens": NUM_TOKENS,
            "num_sequences": 800,
            "num_dimensions": len(found["mean"]),
            "mean": found["mean"].mean(),
            "mean_se_median": np.median(found["mean_se"]),
            "mean_max": np.abs(found["mean"]).max(),
            "mean_top": int(np.abs(found["mean"]).argmax()),
            "mean_std": found["mean"].std(),
            "significant_share": np.mean(np.abs(found["mean"]) > 1.96 * found["mean_se"]),
            "participation_ratio": 1000.0,
        }
        for layer, found in layers.items()
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    units = dict.fromkeys(("mean", "mean_se_median", "mean_max", "mean_std"), UNIT)
    return Table(name="layers", columns=columns, units={**units, "participation_ratio": "features"})


def dictionary_table(num_layers: int, num_features: int) -> Table:
    """Tell of dictionaries that reconstruct well."""
    words = {"format": "random", "architecture": "topk", "path": "random"}
    sites = np.array([f"layers.{layer}.mlp.out" for layer in range(num_layers)], dtype=object)
    numbers = {
        "num_features": num_features,
        "explained_variance": 0.8,
        "explained_variance_with_first": 0.7,
        "l0": 32.0,
        "dead_share": 0.3,
        "num_tokens": 500,
    }
    return Table(
        name="dictionaries",
        columns={
            "layer": np.arange(num_layers),
            "reads": sites,
            "writes": sites,
            **{name: np.array([word] * num_layers, dtype=object) for name, word in words.items()},
            **{name: np.full(num_layers, value) for name, value in numbers.items()},
        },
        units={"l0": "features/token"},
    )


def top_table(layers: Layers, largest: Arrays) -> Table:
    """List the largest features of each layer."""
    count = len(largest[0])
    text = np.array(["its own «token» in context"] * count * len(layers), dtype=object)
    return Table(
        name="top_features",
        columns={
            "layer": np.repeat(list(layers), count),
            "rank_mean": np.tile(np.arange(1, count + 1), len(layers)),
            "feature": np.concatenate(list(largest.values())),
            **{
                name: np.concatenate([layers[layer][name][own] for layer, own in largest.items()])
                for name in layers[0]
            },
            "token": text,
            "context": text,
            "neuronpedia": np.array([""] * len(text), dtype=object),
        },
        units=dict.fromkeys(("mean", "mean_se", "rms"), UNIT),
    )


def context_table(layers: Layers, largest: Arrays, random: np.random.Generator) -> Table:
    """Give each of these features passages of Shakespeare in which it mattered."""
    words = shipped_text().split()
    owners = [
        (layer, int(feature), rank, float(layers[layer]["mean"][feature] * 4 / rank))
        for layer, own in largest.items()
        for feature in own
        for rank in range(1, NUM_CONTEXTS + 1)
    ]
    places = random.integers(12, len(words) - 5, len(owners))
    owner, feature, ranks, values = (np.array(column) for column in zip(*owners, strict=True))
    around = [(words[at - 9 : at], words[at], words[at + 1 : at + 4]) for at in places]
    return Table(
        name="top_tokens",
        columns={
            "layer": owner,
            "feature": feature,
            "rank": ranks,
            "value": values,
            "passage": places // 128,
            "position": places % 128,
            "token": np.array([token for _, token, _ in around], dtype=object),
            "context": np.array(
                [f"{' '.join(a)} «{token}» {' '.join(b)}" for a, token, b in around], dtype=object
            ),
        },
        units={"value": UNIT},
    )


def opened(browser, path: Path):
    """Open a page in a window of its own; its pictures are waited for by ``seconds_of``."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.add_init_script(WATCH)
    page.goto(path.as_uri())
    return page


def seconds_of(page, name: str) -> float:
    """Wait for a picture, and return when it was shown, from the start of the navigation."""
    while not (milliseconds := page.evaluate(f"window.{name}") or 0) > 0:
        page.wait_for_timeout(20)
    return milliseconds / 1000


def measure(browser, files: dict[str, Path], taken: Seconds) -> None:
    """Open both pages in turn; choose layers and point at features of the large one."""
    for name, path in files.items():
        page = opened(browser, path)
        taken[name].append(seconds_of(page, "picture"))
        if name == "page":
            taken["features"].append(seconds_of(page, "features"))
            explore(page, taken)
        page.context.close()


def explore(page, taken: Seconds) -> None:
    """Choose every layer once, and point at features."""
    cloud = page.locator("section").filter(has=page.get_by_role("combobox", name="Layer"))
    cloud.locator(".view").scroll_into_view_if_needed()
    menu = cloud.get_by_role("combobox", name="Layer", exact=True)
    stage = cloud.locator(".stage")
    stage.wait_for()
    for layer in range(1, menu.locator("option").count()):
        script, painted = menu.evaluate(
            f"(menu) => ({SWITCH})([menu, '{layer}'])",
        )
        taken["switch, script"].append(script / 1000)
        taken["switch, painted"].append(painted / 1000)
    milliseconds, num_told = stage.evaluate(HOVER)
    assert num_told > 10, f"only {num_told} points were told of"
    taken["hover"].append(milliseconds / 1000)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--features", type=int, default=65_536)
    parser.add_argument("--page", type=Path, help="also write the page here")
    parser.add_argument("--keep", action="store_true", help="write the result into README.md")
    words = parser.parse_args()
    program = installed()
    assert program is not None, "install chromium or Google Chrome"
    begun = time.perf_counter()
    content = written(words.layers, words.features)
    seconds = time.perf_counter() - begun
    further = len(written(words.layers, words.features, "frequency")) - len(content)
    taken: Seconds = {name: [] for name in NAMES}
    with tempfile.TemporaryDirectory() as folder, chromium(program) as browser:
        files = {name: Path(folder) / f"{name}.html" for name in ("empty", "page")}
        files["empty"].write_text(EMPTY)
        for path in (files["page"], words.page):
            if path is not None:
                path.write_bytes(content)
        for _ in range(words.repeats):
            measure(browser, files, taken)
        version = browser.version
    text = "\n".join(
        [
            f"{words.layers} layers x {words.features:,} features, made and written in "
            f"{seconds:.1f} s; Chromium {version}, medians over {words.repeats} repeats.",
            "",
            *told(len(content) / 1e6, further / 1e6, taken),
        ]
    )
    print(text)
    if words.keep:
        before, _, rest = README.read_text().partition(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def told(megabytes: float, further: float, taken: Seconds) -> Iterator[str]:
    """Write the result as lines of Markdown."""
    medians = {name: statistics.median(values) for name, values in taken.items()}
    yield "| what | measured | wanted |"
    yield "| --- | --- | --- |"
    yield f"| size | {megabytes:.2f} MB | at most 11 MB |"
    yield f"| each further column, if asked for | {further:.2f} MB | at most 4.3 MB |"
    yield f"| first picture of the empty page | {medians['empty']:.3f} s | |"
    for name, what in (("page", "first picture"), ("features", "every feature of a layer")):
        yield f"| {what}, beyond that | {medians[name] - medians['empty']:.3f} s | at most 2 s |"
    yield f"| switch of layer, picture in the page | {medians['switch, script']:.3f} s | |"
    yield f"| switch of layer, painted | {medians['switch, painted']:.3f} s | at most 0.2 s |"
    yield f"| hover | {medians['hover']:.4f} s | at most 0.02 s |"


def written(num_layers: int, num_features: int, *more: str) -> bytes:
    """Write the page as the command does, with more statistics if they are asked for."""
    found = results(num_layers, num_features)
    return document(page_of(found, "sae", ["A run of random numbers."], views(found, more or None)))


if __name__ == "__main__":
    main()
