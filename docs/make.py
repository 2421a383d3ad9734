"""Write docs/commands.md and the pictures of the docs anew: `make pictures`."""

import io
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console

import backlight
from backlight.cli import app
from backlight.labs import LABS
from backlight.surveys import SURVEYS
from backlight.tools import TOOLS

DOCS = Path(__file__).parent
COMMANDS = (*SURVEYS, *TOOLS, "plan", "lab", *(f"lab {name}" for name in LABS))
PICTURES = {
    "depth_profile.png": "depth_profile.png",
    "token_gradient_histograms.png": "token_histograms.png",
    "mean_against_mean_abs.png": "mean_against_mean_abs.png",
    "layer_12_gradient_scatter_combined.png": "layer_12_scatter.png",
}


def main() -> None:
    (DOCS / "commands.md").write_text(commands())
    if "--no-pictures" not in sys.argv:
        draw_pictures()


def commands() -> str:
    """Collect the help of every command."""
    parts = ["# Commands", "", "Written by `make pictures` from each command's `--help`.", ""]
    for words in ([], *(command.split() for command in COMMANDS)):
        title = " ".join(["backlight", *words])
        parts += [f"## `{title}`", "", "```text", help_of(words), "```", ""]
    return "\n".join(parts)


def help_of(words: list[str]) -> str:
    """Print the help of a command as a terminal of 100 columns without colours shows it."""
    shown = io.StringIO()
    app.help_print(words, console=Console(file=shown, width=100, color_system=None))
    return "\n".join(line.rstrip() for line in shown.getvalue().splitlines())


def draw_pictures() -> None:
    """Survey SmolLM2 over Shakespeare and keep the pictures that the docs show."""
    draw_layers()
    draw_features()
    draw_tokens()
    draw_flow()


def draw_tokens() -> None:
    """Ask the shipped city model for distances, and SmolLM2 for capitals."""
    pictures = {
        "distance": {
            "gradient_norm_heatmap.png": "tokens_distance.png",
            "gradient_pca_layer_3_city2_last_digit.png": "tokens_pca.png",
        },
        "capitals": {"gradient_norm_heatmap.png": "tokens_capitals.png"},
    }
    for name, wanted in pictures.items():
        with tempfile.TemporaryDirectory() as scratch:
            run = Path(scratch) / "run"
            backlight.tokens(DOCS.parent / "configs" / f"{name}.yaml", output_dir=run)
            keep(run / "figures", wanted)


def draw_flow() -> None:
    """Follow the gradient of SmolLM2 back through all layers."""
    wanted = ("gradient_flow.svg", "residual.png", "norms.png", "attention_heads.png")
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        backlight.flow(model_name="smollm2", dataset="shakespeare", num_samples=64, output_dir=run)
        keep(run, {name: name if name.startswith("g") else f"flow_{name}" for name in wanted})


def keep(folder: Path, wanted: dict[str, str]) -> None:
    for picture, name in wanted.items():
        shutil.copy(folder / picture, DOCS / "images" / name)


def draw_features() -> None:
    """Survey the shipped dictionary, by gradients and by gradient times activation."""
    for quantity, picture, name in (
        ("gradients", "layer_15_gradient_scatter_combined.png", "sae_scatter.png"),
        ("grad_x_act", "top_features_mean.png", "sae_top_features.png"),
    ):
        with tempfile.TemporaryDirectory() as scratch:
            run = Path(scratch) / "run"
            backlight.sae(
                model_name="smollm2",
                sae_path="smollm2",
                dataset="shakespeare",
                num_samples=128,
                splice="error",
                aggregation_mode="both",
                aggregate_by=quantity,
                output_dir=run,
            )
            shutil.copy(run / picture, DOCS / "images" / name)


def draw_layers() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        backlight.layers(
            model_name="smollm2",
            dataset="shakespeare",
            num_samples=256,
            aggregation_mode="both",
            output_dir=run,
        )
        for source, target in PICTURES.items():
            shutil.copy(run / source, DOCS / "images" / target)
        photograph(run / "index.html")


def photograph(page: Path) -> None:
    """Take a picture of every dimension of a layer on a page, in the machine's own Chromium."""
    program = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    assert program is not None, "the picture of the page needs Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        sheet = browser.new_page(viewport={"width": 1000, "height": 760})
        sheet.goto(page.resolve().as_uri())
        section = sheet.locator("section").filter(has_text="Every dimension").first
        section.scroll_into_view_if_needed()
        section.locator(".stage").wait_for()
        sheet.evaluate("element => element.scrollIntoView()", section.element_handle())
        section.get_by_role("button", name="100", exact=True).wait_for()
        section.locator(".stage").hover(position={"x": 420, "y": 190})
        sheet.screenshot(path=DOCS / "images" / "page.png")
        browser.close()


if __name__ == "__main__":
    main()
