"""What ``backlight sae`` says: a summary, the largest features, whole tables."""

from backlight.surveys.features.printed.shown import brief, tables
from backlight.surveys.features.printed.summary import summary

__all__ = ["brief", "summary", "tables"]
