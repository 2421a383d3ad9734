"""A page becomes a file, where nothing is in the way but an older page."""

from pathlib import Path

from backlight.report.page.document import document, refuse_page
from backlight.report.page.views import Page
from backlight.runs.files import write_file


def write_page(path: Path, page: Page, *, otherwise: str = "name another file with --html") -> None:
    """Write a page, or replace one.

    Args:
        path: The file.
        page: What it shows.
        otherwise: What to do if something is there that is no page.

    Raises:
        ConfigError: If something is there that is no page of backlight.
        StorageError: If it cannot be written.
    """
    refuse_page(path, otherwise=otherwise)
    write_file(path, document(page))
