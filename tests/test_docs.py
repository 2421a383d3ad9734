"""What the docs show is what the program says."""

import re
import runpy
from pathlib import Path

import pytest

import backlight

ROOT = Path(__file__).parents[1]
NOT_PROSE = ("commands.md",)
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *(
        page
        for page in sorted((ROOT / "docs").glob("**/[!_]*.md"))
        if page.name not in NOT_PROSE and "_build" not in page.parts
    ),
]
GUIDES = [page for page in PAGES if page.name != "lab-log.md"]


def prose_of(page):
    """Leave out code, what benchmarks write into a page, tables and pictures."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!-- (\w+): begin -->.*<!-- \1: end -->", "", text, flags=re.DOTALL)
    return [line for line in text.splitlines() if not line.startswith(("|", "  |", "!["))]


def sentences_of(text):
    """Cut a page's prose into sentences, with code, formulas and links as one word or their text.

    A paragraph and an item of a list end a sentence; a colon and a semicolon do not.
    """
    text = re.sub(r"^(#+ .*|\s*([-*]|\d+\.)(?= ))", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    text = re.sub(r"`[^`]*`|\$[^$]*\$", "WORD", text)
    ends = r"\n\s*\n|(?<=[.!?])[\"')\]*]*\s+(?=[\"'(\[*]*[A-Z0-9])"
    return [" ".join(sentence.split()) for sentence in re.split(ends, text) if sentence.strip()]


def anchors_of(page):
    titles = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_page_of_commands_is_what_help_prints():
    made = runpy.run_path(str(ROOT / "docs" / "make.py"))["commands"]()

    assert (ROOT / "docs" / "commands.md").read_text() == made, "run `make pictures`"


def test_the_tree_names_every_room():
    tree = (ROOT / "CONTRIBUTING.md").read_text()

    rooms = [
        path.name
        for path in (ROOT / "src" / "backlight").iterdir()
        if not path.name.startswith("_")
    ]
    assert [room for room in rooms if f"  {room}" not in tree] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_of_the_docs_end_at_100_characters(page):
    assert [line for line in prose_of(page) if len(line) > 100] == []


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_sentences_of_the_guides_have_at_most_40_words(page):
    sentences = sentences_of("\n".join(prose_of(page)))

    assert [sentence for sentence in sentences if len(sentence.split()) > 40] == []


def test_sentences_end_where_a_reader_sees_them_end():
    text = "# Title\nOne `a. B` is\n*one.* [Two](a b.md): 2.5 long; so.\n- three\n- four\n\n(Five.)"

    sentences = ["One WORD is *one.", "[Two]: 2.5 long; so.", "three", "four", "(Five.)"]
    assert sentences_of(text) == sentences


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        other = page.parent / name if name else page
        assert other.exists(), target
        assert not anchor or anchor in anchors_of(other), target


def test_files_that_contributing_names_exist():
    named = re.findall(r"`([\w/]+/[\w/]+(?:\.py|\.md|/))`", (ROOT / "CONTRIBUTING.md").read_text())

    places = (ROOT, ROOT / "src" / "backlight")
    assert [name for name in named if not any((place / name).exists() for place in places)] == []
    assert len(named) > 5


def test_every_page_is_on_the_site():
    docs = ROOT / "docs"
    listed = set((docs / "index.md").read_text().splitlines())

    pages = {page.relative_to(docs).with_suffix("").as_posix() for page in docs.glob("**/[!_]*.md")}
    pages = {page for page in pages if not page.startswith("_build")}
    assert pages - listed == {"index"}


def test_the_page_of_the_api_has_every_public_name():
    told = re.findall(
        r"^\.\. auto\w+:: (\w+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE
    )

    assert sorted(told) == sorted(backlight.__all__)
