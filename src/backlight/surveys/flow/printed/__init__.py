"""What ``backlight flow`` says: a summary, what stands out in each view, whole tables."""

from backlight.surveys.flow.printed.shown import brief, tables
from backlight.surveys.flow.printed.summary import summary

__all__ = ["brief", "summary", "tables"]
