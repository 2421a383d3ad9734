"""Figures of a comparison, of two runs or of a series."""

from backlight.surveys.comparison.figures.pairs import draw

__all__ = ["draw"]
