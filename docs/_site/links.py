"""Which links within a folder of pages lead nowhere."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


def broken_links(site: Path) -> Iterator[str]:
    """Yield each link or picture of the site whose file or place in a file is not there."""
    pages = {page.resolve(): _Page.of(page) for page in sorted(Path(site).rglob("*.html"))}
    for file, page in pages.items():
        for link in page.links:
            to = urlsplit(link)
            target = (file.parent / unquote(to.path)).resolve() if to.path else file
            place = unquote(to.fragment)
            if not target.is_file() or (
                place and target in pages and place not in pages[target].ids
            ):
                yield f"{file.relative_to(site.resolve())}: {link}"


class _Page(HTMLParser):
    """The places of a page that can be linked to, and the links that it has within the site."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: dict[str, None] = {}

    @classmethod
    def of(cls, file: Path) -> "_Page":
        page = cls()
        page.feed(file.read_text())
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        given = {name: value for name, value in attrs if value is not None}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        link = given.get("href", given.get("src", ""))
        to = urlsplit(link)
        if link and not to.scheme and not to.netloc and link != "#":
            self.links[link] = None
