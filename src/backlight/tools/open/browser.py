"""A page shown by the user's browser, where there is one."""

import os
import sys
import webbrowser
from pathlib import Path

_WITH_A_SCREEN = ("win32", "cygwin", "darwin")
_SIGNS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")  # of a screen, or of a browser that was chosen


def show(page: Path) -> bool:
    """Open a page in the browser, if there is one and a screen to show it on.

    Args:
        page: The file.

    Returns:
        Whether a browser was started; what it then does is not known.
    """
    if sys.platform not in _WITH_A_SCREEN and not any(map(os.environ.get, _SIGNS)):
        return False  # or a browser for terminals would take this one
    try:
        return webbrowser.open(page.absolute().as_uri())
    except (webbrowser.Error, OSError):
        return False
