"""What a validation says in the terminal: sentences, and tables."""

from backlight.surveys.validation.printed.shown import brief, tables
from backlight.surveys.validation.printed.summary import summary

__all__ = ["brief", "summary", "tables"]
