"""The machine's own Chromium, and a record of what a page does in it."""

import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, sync_playwright

__all__ = ["MISSING", "Watch", "chromium", "installed", "wait_until_ready", "watched"]

MISSING = (
    "no Chromium is installed: apt-get install chromium, or install Google Chrome, so that pages "
    "are tested in a browser"
)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
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
    end = time.monotonic() + _SECONDS
    while page.evaluate("document.documentElement.dataset.ready") != "1":
        assert time.monotonic() < end, f"{page.url} is not ready within {_SECONDS} seconds"
        page.wait_for_timeout(10)
