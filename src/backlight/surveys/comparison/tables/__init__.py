"""Tables of a comparison, of two runs or of a series."""

from backlight.surveys.comparison.tables.pairs import NUM_LISTED, findings

__all__ = ["NUM_LISTED", "findings"]
