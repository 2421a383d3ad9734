"""The machine's own Chromium, and a record of what a page does in it."""

import os
import re
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    Request,
    sync_playwright,
)

__all__ = [
    "Watch",
    "chromium",
    "installed",
    "obstacles",
    "picture",
    "section",
    "told",
    "wait_for",
    "wait_until_ready",
    "walk",
    "wanted",
    "watched",
]

_MISSING = (
    "no Chromium is installed: apt-get install chromium, or install Google Chrome, so that pages "
    "are tested in a browser"
)
_NAMES = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser")
_FLAGS = (
    "--no-sandbox",  # which Chromium needs when root runs it
    "--disable-dev-shm-usage",  # containers have little of it
    "--disable-gpu",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
)
_INSIDE = ("data:", "blob:")  # requests for what the page holds itself
_SECONDS = 30  # a guard against hanging, not a measure


def installed() -> str | None:
    """Find the program of Chromium or Chrome, ``None`` if there is none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def wanted() -> str:
    """Find the program; where there is none, fail in CI and skip the test elsewhere."""
    program = installed()
    if program is None:
        pytest.fail(_MISSING) if os.environ.get("CI") == "true" else pytest.skip(_MISSING)
    return program


@contextmanager
def chromium(program: str) -> Generator[Browser, None, None]:
    """Run a browser that nobody sees."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """What a page did that a page of backlight never does.

    Attributes:
        problems: A line for each message on the console, uncaught error, dialog, other window and
            request for anything but the file.
    """

    def __init__(self, page: Page, address: str) -> None:
        """Listen to a page that is about to open an address."""
        self.problems: list[str] = []
        self._address = address
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("dialog", self._asked)
        page.on("request", self._requested)
        page.on("popup", lambda other: self.problems.append(f"window: {other.url}"))

    def _said(self, message: ConsoleMessage) -> None:
        self.problems.append(f"console: {message.type}: {message.text}")

    def _asked(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog: {dialog.type}: {dialog.message}")
        dialog.dismiss()

    def _requested(self, request: Request) -> None:
        url = request.url
        if url.partition("#")[0] != self._address and not url.startswith(_INSIDE):
            self.problems.append(f"request: {url[:200]}")


@contextmanager
def watched(
    browser: Browser, path: Path, *, width: int = 1280, dark: bool = False, scripts: bool = True
) -> Generator[tuple[Page, Watch], None, None]:
    """Open a file in a window of its own, without network.

    Args:
        browser: Where.
        path: The file.
        width: Of the window, in pixels.
        dark: Whether the reader prefers dark pages.
        scripts: Whether JavaScript runs.

    Yields:
        The page, which may not be ready yet, and the record of what it does.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
        offline=True,
    )
    context.set_default_timeout(10_000)
    try:
        page = context.new_page()
        address = path.resolve().as_uri()
        watch = Watch(page, address)
        page.goto(address)
        yield page, watch
    finally:
        context.close()


def wait_until_ready(page: Page) -> None:
    """Wait until the page's script says that its first picture is drawn."""
    ready = "document.documentElement.dataset.ready"
    wait_for(page, lambda: page.evaluate(ready) == "1", "the first picture is drawn")


def section(page: Page, title: str) -> Locator:
    """Scroll to the section of a heading, and wait until its pictures or its table are there."""
    found = page.locator("section").filter(has=page.get_by_role("heading", name=title, level=2))
    found.locator(".view").scroll_into_view_if_needed()
    wait_for(page, lambda: found.locator(".stage svg, tbody tr").count() > 0, f"{title} is drawn")
    return found


def wait_for(page: Page, is_so: Callable[[], bool], what: str) -> None:
    """Wait until something holds; the page's policy forbids Playwright's own way to do so."""
    end = time.monotonic() + _SECONDS
    while not is_so():
        assert time.monotonic() < end, f"not within {_SECONDS} seconds: {what}"
        page.wait_for_timeout(10)


def told(found: Locator) -> str:
    """Read what is told of the point that is pointed at, empty if nothing is."""
    box = found.locator(".told")
    return box.inner_text() if box.is_visible() else ""


def walk(found: Locator, *keys: str) -> str:
    """Reach a picture by the keyboard, press keys and read what is told."""
    stage = found.locator(".stage")
    stage.focus()
    for key in keys:
        stage.press(key)
    return told(found)


def obstacles(page: Page) -> list[str]:
    """List what stands in the way of those who have a page read to them, or a narrow screen."""
    return page.evaluate(_OBSTACLES)


_OBSTACLES = """() => {
    const found = [];
    const all = (those) => [...document.querySelectorAll(those)];
    const levels = all("h1, h2, h3, h4, h5, h6").map((each) => Number(each.localName[1]));
    levels.forEach((level, i) => {
        if (level > (levels[i - 1] ?? 0) + 1) found.push(`heading ${i} is of level ${level}`);
    });
    if (levels.filter((level) => level === 1).length !== 1) found.push("not one first heading");
    if (!document.documentElement.lang) found.push("no language");
    for (const each of all("input, select"))
        if (![...each.labels].some((label) => label.innerText.trim())) found.push(each.outerHTML);
    for (const each of all(".stage, .stage > svg"))
        if (!each.role || !each.ariaLabel) found.push(`no name: ${each.outerHTML.slice(0, 200)}`);
    for (const each of all("button, a"))
        if (!/[^\\s]/.test(each.textContent)) found.push(`says nothing: ${each.outerHTML}`);
    for (const each of all("img:not([alt]), thead th:not([scope])")) found.push(each.outerHTML);
    const width = document.documentElement.scrollWidth;
    if (width > innerWidth) found.push(`${width} pixels on a screen of ${innerWidth}`);
    return found;
}"""


def picture(found: Locator) -> str:
    """Read what a picture looks like: its shapes, without the names of their clips."""
    written = found.locator(".stage > svg").evaluate("svg => svg.outerHTML")
    return re.sub(r"clip-\w+", "clip", written)
