"""What a comparison says in the terminal: sentences, and tables."""

from backlight.surveys.comparison.printed.shown import brief, tables
from backlight.surveys.comparison.printed.summary import summary

__all__ = ["brief", "summary", "tables"]
