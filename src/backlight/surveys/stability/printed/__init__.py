"""What the stability of a run is in the terminal: sentences, and a table."""

from backlight.surveys.stability.printed.shown import brief, tables
from backlight.surveys.stability.printed.summary import summary

__all__ = ["brief", "summary", "tables"]
