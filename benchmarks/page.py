"""What the page of a large run costs: its size, its first picture, a change of layer, pointing.

    python benchmarks/page.py [--repeats 5] [--layers 24] [--features 65536] [--keep]

A `backlight sae` run of random numbers: one statistic of every feature of every layer with its
standard error, and five contexts from Shakespeare for the 200 largest features of each layer. The
page is written as the command writes it and opened from disk in the machine's own Chromium, without
graphics card, in turn with a page that has one empty picture. All times are medians over repeats.

- first picture: from the start of the navigation until a frame with the picture was shown. The
  empty page is one rectangle, opened in the same browser.
- switch: from the choice of another layer until its picture is in the page, and until the frame
  with it was shown. Each layer is chosen for the first time.
- hover: from a movement of the mouse until the text of the point is laid out.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from zoo.browsing import chromium, installed, wait_until_ready

from backlight.data.characters import shipped_text
from backlight.report.page.document import document
from backlight.runs.results import Results
from backlight.surveys.driver.showing import page_of
from backlight.tables import Table

Arrays = dict[int, np.ndarray]
Seconds = dict[str, list[float]]

NUM_LARGEST, NUM_CONTEXTS = 200, 5
EMPTY = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>empty</title>
<svg width="1100" height="420"><rect width="1000" height="400" fill="none" stroke="black"/></svg>
<script>document.documentElement.dataset.ready = "1";</script></html>"""

WATCH = """
new MutationObserver((_, watch) => {
  if (document.documentElement?.dataset.ready !== "1" || window.firstPicture) return;
  window.firstPicture = -1;
  watch.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => (window.firstPicture = performance.now())));
}).observe(document, { attributes: true, childList: true, subtree: true });
"""
"""Notes when the first picture was shown: the frame after the one in which it was painted begins."""

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
  const box = stage.getBoundingClientRect();
  const taken = [];
  for (let step = 1; step < 40; step++) {
    const [clientX, clientY] = [box.left + (box.width * step) / 40, box.top + box.height * 0.5];
    const begun = performance.now();
    stage.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
    stage.querySelector(".told").offsetWidth;
    taken.push(performance.now() - begun);
    await new Promise(requestAnimationFrame);
  }
  return [taken.sort((a, b) => a - b)[20], !stage.querySelector(".told").hidden];
}"""


def results(num_layers: int, num_features: int) -> Results:
    """Make a run of random numbers as `backlight sae` leaves it, with one statistic."""
    random = np.random.default_rng(0)
    means, errors, largest = {}, {}, {}
    for layer in range(num_layers):
        sizes = random.lognormal(-9, 1.5, num_features)
        means[layer] = sizes * random.choice([-1.0, 1.0], num_features)
        errors[layer] = sizes * random.uniform(0.02, 0.8, num_features)
        largest[layer] = np.argsort(-sizes)[:NUM_LARGEST]
    return Results(
        config={"aggregate_by": "gradients", "model_name": "random", "sae_path": "random"},
        metadata={"num_tokens": 100_000},
        data={f"layer_{layer}_mean": values for layer, values in means.items()},
        statistics={
            **{f"layer_{layer}_mean": values for layer, values in means.items()},
            **{f"layer_{layer}_mean_se": values for layer, values in errors.items()},
        },
        tables={
            table.name: table
            for table in (
                layer_table(means, errors),
                top_table(means, errors, largest),
                context_table(means, largest, random),
            )
        },
    )


def layer_table(means: Arrays, errors: Arrays) -> Table:
    """Average each layer, as the survey does."""
    columns = {
        "mean": [values.mean() for values in means.values()],
        "mean_se_median": [np.median(values) for values in errors.values()],
        "mean_max": [np.abs(values).max() for values in means.values()],
        "mean_top": [int(np.abs(values).argmax()) for values in means.values()],
        "mean_std": [values.std() for values in means.values()],
    }
    return Table(
        name="layers",
        columns={
            "layer": np.array(list(means)),
            "num_tokens": np.full(len(means), 100_000),
            "num_sequences": np.full(len(means), 800),
            "num_dimensions": np.array([len(values) for values in means.values()]),
            **{name: np.array(values) for name, values in columns.items()},
        },
        units={name: "nats/unit" for name in columns if name != "mean_top"},
    )


def top_table(means: Arrays, errors: Arrays, largest: Arrays) -> Table:
    """List the largest features of each layer."""
    count = len(next(iter(largest.values())))
    return Table(
        name="top_features",
        columns={
            "layer": np.repeat(list(means), count),
            "rank_mean": np.tile(np.arange(1, count + 1), len(means)),
            "feature": np.concatenate(list(largest.values())),
            "mean": np.concatenate([means[layer][places] for layer, places in largest.items()]),
            "mean_se": np.concatenate([errors[layer][places] for layer, places in largest.items()]),
        },
        units={"mean": "nats/unit", "mean_se": "nats/unit"},
    )


def context_table(means: Arrays, largest: Arrays, random: np.random.Generator) -> Table:
    """Give each of these features passages of Shakespeare in which it mattered."""
    words = shipped_text().split()
    owners = [
        (layer, int(feature), rank, float(means[layer][feature] * 4 / rank))
        for layer, features in largest.items()
        for feature in features
        for rank in range(1, NUM_CONTEXTS + 1)
    ]
    places = random.integers(12, len(words) - 5, len(owners))
    layers, features, ranks, values = (np.array(column) for column in zip(*owners, strict=True))
    around = [(words[at - 9 : at], words[at], words[at + 1 : at + 4]) for at in places]
    return Table(
        name="top_tokens",
        columns={
            "layer": layers,
            "feature": features,
            "rank": ranks,
            "value": values,
            "passage": places // 128,
            "position": places % 128,
            "token": np.array([token for _, token, _ in around], dtype=object),
            "context": np.array(
                [f"{' '.join(a)} «{token}» {' '.join(b)}" for a, token, b in around], dtype=object
            ),
        },
        units={"value": "nats/unit"},
    )


def opened(browser, path: Path):
    """Open a page in a window of its own and wait for its first picture."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.add_init_script(WATCH)
    page.goto(path.as_uri())
    wait_until_ready(page)
    while not (seconds := page.evaluate("window.firstPicture") or 0) > 0:
        page.wait_for_timeout(20)
    return page, seconds / 1000


def measure(browser, files: dict[str, Path], taken: Seconds) -> None:
    """Open both pages in turn; choose layers and point at features of the large one."""
    for name, path in files.items():
        page, seconds = opened(browser, path)
        taken[name].append(seconds)
        if name == "page":
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
    milliseconds, is_told = stage.evaluate(HOVER)
    assert is_told, "nothing is told of a point"
    taken["hover"].append(milliseconds / 1000)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--features", type=int, default=65_536)
    parser.add_argument("--keep", type=Path, help="also write the page here")
    options = parser.parse_args()
    program = installed()
    assert program is not None, "install chromium or Google Chrome"
    names = ("empty", "page", "switch, script", "switch, painted", "hover")
    taken: Seconds = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, chromium(program) as browser:
        files = {name: Path(folder) / f"{name}.html" for name in ("empty", "page")}
        files["empty"].write_text(EMPTY)
        begun = time.perf_counter()
        content = written(options.layers, options.features)
        seconds = time.perf_counter() - begun
        for path in (files["page"], options.keep):
            if path is not None:
                path.write_bytes(content)
        for _ in range(options.repeats):
            measure(browser, files, taken)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    size = len(content) / 1e6
    print(f"{options.layers} layers x {options.features} features, written in {seconds:.1f} s")
    print("| what | measured | wanted |")
    print("| --- | --- | --- |")
    print(f"| size | {size:.2f} MB | at most 11 MB |")
    print(f"| first picture of the empty page | {medians['empty']:.3f} s | |")
    more = medians["page"] - medians["empty"]
    print(f"| first picture, beyond that | {more:.3f} s | at most 2 s |")
    print(f"| switch of layer, script | {medians['switch, script']:.3f} s | |")
    print(f"| switch of layer, painted | {medians['switch, painted']:.3f} s | at most 0.2 s |")
    print(f"| hover | {medians['hover']:.4f} s | at most 0.02 s |")


def written(num_layers: int, num_features: int) -> bytes:
    """Write the page as the command does."""
    from backlight.surveys.features.page import views

    found = results(num_layers, num_features)
    return document(page_of(found, "sae", ["A run of random numbers."], views(found)))


if __name__ == "__main__":
    main()
