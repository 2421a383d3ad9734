"""One browser for all pages, and pages that must behave."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from zoo.browsing import chromium, wait_until_ready, wanted, watched

PICTURES = Path(__file__).parents[2] / "test-results"
"""Where pictures of the pages go, for people to look at."""


@pytest.fixture(scope="package")
def browser():
    """The machine's Chromium, launched once; where CI has none, that is a failure."""
    with chromium(wanted()) as running:
        yield running


@pytest.fixture
def opened(browser):
    """Open a file and wait for its first picture; in the end no page may have done any harm."""
    watches = []
    with ExitStack() as windows:

        def opened(path, *, ready=True, **wishes):
            page, watch = windows.enter_context(watched(browser, path, **wishes))
            watches.append(watch)
            if ready:
                wait_until_ready(page)
            return page

        yield opened
        problems = [problem for watch in watches for problem in watch.problems]
    assert problems == []


@pytest.fixture
def pictured():
    """Keep pictures of a page: light and dark, on a wide and on a narrow screen."""

    def pictured(page, name):
        PICTURES.mkdir(exist_ok=True)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in (1280, 390):
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_timeout(50)  # the page draws anew
                file = PICTURES / f"{name}-{scheme}-{width}.png"
                page.screenshot(path=file, full_page=True)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1280, "height": 900})

    return pictured
