"""One file of HTML that needs nothing else and asks for nothing: text, data, script, style.

Its policy lets no network in, and runs the one script and style whose hashes it names. All text
is escaped or stands in JSON that cannot end its element; the script only ever writes text.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

from backlight.errors import ConfigError, quoted
from backlight.foreign.text import html
from backlight.report.page.blocks import Blocks
from backlight.report.page.encoding import encode
from backlight.report.page.views import Page, Paragraph, Prose, View

_GENERATOR = '<meta name="generator" content="backlight">'
"""A line at the head of each page; only a file that has it may be replaced by another page."""

_HEAD = 1000  # bytes, in which a page says who made it
_SCRIPTS = (
    *("data.js", "pen.js", "axes.js", "chart.js", "lines.js", "points.js", "cloud.js"),
    *("cells.js", "table.js", "main.js"),
)
_NO_SCRIPT = "Pictures and tables of this page are drawn by its own script, which is switched off."


def document(page: Page) -> bytes:
    """Write a page.

    Args:
        page: What it shows.

    Returns:
        The file: one document in UTF-8 that loads nothing. Equal pages give equal bytes.
    """
    blocks = Blocks()
    views = json.dumps([encode(view, blocks) for view in page.views], separators=(",", ":"))
    lines = [
        _beginning(),
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html(page.title)}</title>",
        f"<style>{_asset('style.css')}</style></head><body>",
        *_head(page),
        *(line for number, view in enumerate(page.views) for line in _section(number, view)),
        *_foot(page),
        f'<script type="application/json" id="views">{_inert(views)}</script>',
        f"<script>{_script()}</script>",
        *(
            f'<script type="text/plain" id="block-{number}">{content}</script>'
            for number, content in enumerate(blocks.contents)
        ),
        "</body></html>\n",
    ]
    return "\n".join(lines).encode()


def refuse_page(path: Path, *, otherwise: str = "name another file with --html") -> None:
    """Refuse a file for a page that is something else, such as the log that is to be judged.

    Args:
        path: Where the page is to be written.
        otherwise: What to do about it.

    Raises:
        ConfigError: If something is there that is no page of backlight.
    """
    if os.path.lexists(path) and not is_page(path):
        raise ConfigError(
            f"{quoted(path)} is there already and is no page that backlight made, so it is not "
            f"replaced; {otherwise}."
        )


def is_page(path: Path) -> bool:
    """Find out whether a file is a page that backlight made; a link to one is none."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return _GENERATOR.encode() in file.read(_HEAD)


def is_inert(path: Path) -> bool:
    """Find out whether a file is a page in which nothing can run but the script of this version.

    Args:
        path: The file, which may be a stranger's.

    Returns:
        Whether its first line is the policy of this version, which all below it has to keep.
    """
    if not is_page(path):
        return False
    expected = _beginning().encode()
    with path.open("rb") as file:
        return file.read(len(expected)) == expected


def _beginning() -> str:
    policy = (
        f"default-src 'none'; script-src {_hash(_script())}; style-src "
        f"{_hash(_asset('style.css'))}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    lines = (
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        _GENERATOR,
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
    )
    return "\n".join(lines)


def _head(page: Page) -> Iterator[str]:
    yield f"<header><h1>{html(page.title)}{_badge(page.mark, page.tone)}</h1>"
    yield from (f"<p>{html(sentence)}</p>" for sentence in page.summary)
    yield f"<noscript><p>{_NO_SCRIPT}</p></noscript></header><main>"


def _section(number: int, view: View) -> Iterator[str]:
    """Write what of a view is text; what is drawn goes into the element of class ``view``."""
    prose = view if isinstance(view, Prose) else None
    badge = _badge(prose.mark, prose.tone) if prose else ""
    yield "<section>"
    if view.title:
        yield f'<h2 id="heading-{number}">{html(view.title)}{badge}</h2>'
    if view.note:
        yield f'<p class="soft">{html(view.note)}</p>'
    if prose:
        yield from map(_paragraph, prose.paragraphs)
    else:
        yield f'<div class="view" id="view-{number}"></div>'
    yield "</section>"


def _paragraph(paragraph: Paragraph) -> str:
    label = f"<strong>{html(paragraph.label)}</strong> " if paragraph.label else ""
    return f"<p>{label}{html(paragraph.text)}</p>"


def _foot(page: Page) -> Iterator[str]:
    yield "</main>"
    if page.facts or page.commands:
        yield "<footer><h2>How it was made</h2>"
        for name, command in page.commands.items():
            yield f"<p>{html(name)}</p><pre>{html(command)}</pre>"
        if page.facts:
            facts = (f"<dt>{html(a)}</dt><dd>{html(b)}</dd>" for a, b in page.facts.items())
            yield f"<details><summary>Options, versions and times</summary><dl>{''.join(facts)}"
            yield "</dl></details>"
        yield "</footer>"


def _badge(mark: str, tone: str) -> str:
    return f' <span class="badge {tone}">{html(mark)}</span>' if mark else ""


def _inert(text: str) -> str:
    """Write JSON so that nothing in it can be taken for the end of its element, or a comment."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def _script() -> str:
    scripts = "\n".join(_asset(name) for name in _SCRIPTS)
    return f'(() => {{"use strict";\n{scripts}}})();'


@cache
def _asset(name: str) -> str:
    return (
        files("backlight.report.page").joinpath("assets").joinpath(name).read_text(encoding="utf-8")
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
