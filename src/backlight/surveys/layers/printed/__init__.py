"""What ``backlight layers`` says: a summary, the largest layers and dimensions, whole tables."""

from backlight.surveys.layers.printed.shown import brief, tables
from backlight.surveys.layers.printed.summary import summary

__all__ = ["brief", "summary", "tables"]
