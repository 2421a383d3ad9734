"""The terminal: where all text goes as it is to be read, whoever wrote it."""

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from backlight.foreign.streams import Unhindered
from backlight.foreign.text import plain

_PLAIN_WIDTH = 172


class _PlainConsole(Console):
    """A terminal to which all text goes as it is to be read: nothing in it steers or hides."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(plain(text, lines=True), **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # main ends as other commands do; rich would leave the process


def console(*, stderr: bool = False, markup: bool = False) -> Console:
    """Open the terminal; where there is none, lines are long rather than broken.

    Args:
        stderr: Write to standard error, where a line that cannot be written stops nothing.
        markup: Read ``[bold]`` and the like; foreign text must then be escaped.

    Returns:
        The terminal.
    """
    file: Any = Unhindered(sys.stderr) if stderr else None
    looks: dict[str, Any] = {"file": file, "highlight": False, "markup": markup, "emoji": False}
    made = _PlainConsole(**looks)
    return made if made.is_terminal else _PlainConsole(**looks, width=_PLAIN_WIDTH)
