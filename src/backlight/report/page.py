"""One page of HTML that needs nothing else: text is escaped, pictures are inside."""

import base64
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from backlight.errors import ConfigError, quoted
from backlight.foreign.text import html

_GENERATOR = '<meta name="generator" content="backlight">'
"""A line at the head of each page; only a file that has it may be replaced by another page."""

_HEAD = 1000  # bytes, in which a page says who made it
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --paper: #fff; --soft: #5a6472; --line: #d8dde5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --paper: #14171c; --soft: #a2abb8; --line: #333a45; }
  img { background: #fff; padding: 6px; border-radius: 4px; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 1.8rem 0 .4rem; overflow-wrap: anywhere; }
p { margin: .35rem 0; overflow-wrap: anywhere; }
.badge { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; color: #fff; }
.good { background: #2f855a; } .bad { background: #c53030; } .odd { background: #b7791f; }
section { border-top: 1px solid var(--line); }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
figure { margin: 1.2rem 0; } img { max-width: 100%; height: auto; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Some text, with a word in front of it.

    Attributes:
        label: The word, empty for none.
        text: The text.
    """

    label: str = ""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture and what it shows.

    Attributes:
        png: The bytes of its file.
        caption: Below it, and for those who cannot see it.
    """

    png: bytes
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with paragraphs and pictures.

    Attributes:
        heading: What the section is about; empty for none.
        paragraphs: Its text.
        pictures: Below the text.
        mark: A word on a coloured ground beside the heading, empty for none.
        tone: The colour of the mark: ``good``, ``bad`` or ``odd``.
    """

    heading: str
    paragraphs: Sequence[Paragraph] = ()
    pictures: Sequence[Picture] = ()
    mark: str = ""
    tone: str = "odd"


def page(title: str, sections: Sequence[Section], *, mark: str = "", tone: str = "good") -> bytes:
    """Write a page.

    Args:
        title: What the page is about.
        sections: From top to bottom; one without a heading goes on with what is above it.
        mark: A word on a coloured ground beside the title, empty for none.
        tone: Its colour: ``good``, ``bad`` or ``odd``.

    Returns:
        The file: one document in UTF-8 that loads nothing.
    """
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        _GENERATOR,
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html(title)}{_badge(mark, tone)}</h1>",
        *(line for section in sections for line in _lines(section)),
        "</body></html>",
    ]
    return "\n".join(lines).encode()


def refuse_page(path: Path) -> None:
    """Refuse a file for a page that is something else, such as the log that is to be judged.

    Args:
        path: Where the page is to be written.

    Raises:
        ConfigError: If something is there that is no page of backlight.
    """
    if not os.path.lexists(path):
        return
    if not path.is_symlink() and path.is_file():
        with path.open("rb") as file:
            if _GENERATOR.encode() in file.read(_HEAD):
                return
    raise ConfigError(
        f"{quoted(path)} is there already and is no page that backlight made, so it is not "
        "replaced; name another file with --html."
    )


def _lines(section: Section) -> Iterator[str]:
    yield "<section>" if section.heading else "<div>"
    if section.heading:
        yield f"<h2>{html(section.heading)}{_badge(section.mark, section.tone)}</h2>"
    for paragraph in section.paragraphs:
        label = f"<strong>{html(paragraph.label)}</strong> " if paragraph.label else ""
        yield f"<p>{label}{html(paragraph.text)}</p>"
    for picture in section.pictures:
        content = base64.b64encode(picture.png).decode("ascii")
        caption = html(picture.caption)
        yield f'<figure><img src="data:image/png;base64,{content}" alt="{caption}">'
        yield f"<figcaption>{caption}</figcaption></figure>"
    yield "</section>" if section.heading else "</div>"


def _badge(mark: str, tone: str) -> str:
    return f' <span class="badge {html(tone)}">{html(mark)}</span>' if mark else ""
