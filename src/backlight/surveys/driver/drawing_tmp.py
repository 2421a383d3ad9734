"""Temporary: figures until the doors are merged."""

from typing import Any

from backlight.tools.report import command

rendered = command.rendered


def draw(name: Any, results: Any) -> Any:
    """Draw."""
    return command._FIGURES[name](results)  # pyright: ignore
