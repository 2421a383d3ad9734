"""What ``backlight tokens`` says: a summary, the largest positions, whole tables, a list."""

from backlight.surveys.tokens.printed.listed import listed
from backlight.surveys.tokens.printed.shown import brief, tables
from backlight.surveys.tokens.printed.summary import summary

__all__ = ["brief", "listed", "summary", "tables"]
