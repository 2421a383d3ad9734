"""How Sphinx builds the site from the pages in this folder: `make docs`.

Pages are written for two readers: GitHub, which shows a file as it lies in the repository, and the
site. So links lead to files, also to those outside this folder; the site has pages for some of
these, and for all others it links to the repository.
"""

import os
import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import SphinxError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

sys.path.insert(0, str(HERE / "_site"))
from links import broken_links  # noqa: E402

REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "")
"""OWNER/NAME, as the workflow that publishes the site knows it."""

PLACES = {
    "benchmarks.md": ROOT / "benchmarks" / "README.md",
    "changelog.md": ROOT / "CHANGELOG.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
}
"""What pages of the site show of files outside this folder."""

# Tutorials run the command as a reader would.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

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
    "notebooks",
]
exclude_patterns = ["_build"]
repository = REPOSITORY
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "tutorials")
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # how far a run is, which is of no use in a page
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
napoleon_use_rtype = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
pygments_dark_style = "github-dark"
html_theme = "furo"
html_title = "backlight"
html_show_copyright = False
html_show_search_summary = False  # a page from disk may not read others
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["pictures.js"]
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
    """Take part in the reading of every page, and look at what was written."""
    app.connect("source-read", within_the_site)
    app.connect("build-finished", links_hold, priority=900)  # after notebooks were written


def links_hold(app: Sphinx, error: Exception | None) -> None:
    """Fail if a link within the site leads nowhere."""
    if error is None and app.builder.name == "html" and (broken := list(broken_links(app.outdir))):
        raise SphinxError("Links lead nowhere:\n" + "\n".join(broken))


def within_the_site(app: Sphinx, name: str, source: list[str]) -> None:
    """Put in files from outside this folder, and make links hold within the site."""
    del app
    place = PLACES.get(f"{name}.md", HERE / f"{name}.md")
    text = place.read_text() if f"{name}.md" in PLACES else source[0]
    if REPOSITORY:
        text = text.replace("git clone REPOSITORY", f"git clone https://github.com/{REPOSITORY}")
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
