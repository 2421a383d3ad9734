"""How Sphinx builds the site from the pages in this folder: `make docs`.

Pages are written for two readers: GitHub, which shows a file as it lies in the repository, and the
site. So links lead to files, also to those outside this folder; the site has pages for some of
these, and for all others it links to the repository.
"""

import os
import re
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "")
"""OWNER/NAME, as the workflow that publishes the site knows it."""

PLACES = {
    "benchmarks.md": ROOT / "benchmarks" / "README.md",
    "changelog.md": ROOT / "CHANGELOG.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
}
"""What pages of the site show of files outside this folder."""

PAGES = {ROOT / "README.md": "index.md"} | {file: page for page, file in PLACES.items()}

project = "backlight"
author = "The backlight authors"
release = version_of("backlight")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
nitpicky = False
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
napoleon_use_rtype = False
html_theme = "furo"
html_title = "backlight"
html_theme_options = (
    {
        "source_repository": f"https://github.com/{REPOSITORY}",
        "source_branch": "main",
        "source_directory": "docs/",
    }
    if REPOSITORY
    else {}
)


def setup(app: Sphinx) -> None:
    """Take part in the reading of every page."""
    app.connect("source-read", within_the_site)


def within_the_site(app: Sphinx, name: str, source: list[str]) -> None:
    """Put in files from outside this folder, and make links hold within the site."""
    del app
    place = PLACES.get(f"{name}.md", HERE / f"{name}.md")
    text = place.read_text() if f"{name}.md" in PLACES else source[0]
    source[0] = re.sub(
        r"(?<!!)\]\((?!https?:)([^)\s#]+)",
        lambda link: f"]({_within(place.parent / link[1])}",
        text,
    )


def _within(target: Path) -> str:
    """Return how a page of the site links to a file of the repository."""
    file = target.resolve()
    if file in PAGES:
        return f"/{PAGES[file]}"
    if file.is_relative_to(HERE):
        return f"/{file.relative_to(HERE)}"
    return (
        f"https://github.com/{REPOSITORY or 'OWNER/backlight'}/blob/main/{file.relative_to(ROOT)}"
    )
