"""One page of HTML that needs nothing else: text is escaped, pictures are inside."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from backlight.foreign.text import html

GENERATOR = '<meta name="generator" content="backlight">'
"""What the first lines of each page say: only what says so may be replaced by another page."""

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
        png: Its bytes.
        caption: Below it, and for those who cannot see it.
    """

    png: bytes
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with paragraphs and pictures.

    Attributes:
        heading: Of the section.
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


@dataclass(slots=True)
class _Lines:
    lines: list[str] = field(default_factory=list[str])

    def add(self, line: str) -> None:
        self.lines.append(line)


def page(title: str, sections: Sequence[Section], *, mark: str = "", tone: str = "good") -> bytes:
    """Write a page.

    Args:
        title: Of the page.
        sections: From top to bottom; one without a heading goes on with what is above it.
        mark: A word on a coloured ground beside the title, empty for none.
        tone: Its colour: ``good``, ``bad`` or ``odd``.

    Returns:
        The file: one document in UTF-8 that loads nothing.
    """
    lines = _Lines()
    lines.add("<!DOCTYPE html>")
    lines.add('<html lang="en"><head><meta charset="utf-8">')
    lines.add(GENERATOR)
    lines.add('<meta name="viewport" content="width=device-width, initial-scale=1">')
    lines.add(f"<title>{html(title)}</title><style>{_STYLE}</style></head><body>")
    lines.add(f"<h1>{html(title)}{_badge(mark, tone)}</h1>")
    for section in sections:
        _add_section(lines, section)
    lines.add("</body></html>")
    return "\n".join(lines.lines).encode()


def _add_section(lines: _Lines, section: Section) -> None:
    lines.add("<section>" if section.heading else "<div>")
    if section.heading:
        lines.add(f"<h2>{html(section.heading)}{_badge(section.mark, section.tone)}</h2>")
    for paragraph in section.paragraphs:
        label = f"<strong>{html(paragraph.label)}</strong> " if paragraph.label else ""
        lines.add(f"<p>{label}{html(paragraph.text)}</p>")
    for picture in section.pictures:
        content = base64.b64encode(picture.png).decode("ascii")
        caption = html(picture.caption)
        lines.add(f'<figure><img src="data:image/png;base64,{content}" alt="{caption}">')
        lines.add(f"<figcaption>{caption}</figcaption></figure>")
    lines.add("</section>" if section.heading else "</div>")


def _badge(mark: str, tone: str) -> str:
    return f' <span class="badge {html(tone)}">{html(mark)}</span>' if mark else ""
