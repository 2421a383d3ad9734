"""What two runs say of the same units, and how it differs."""

from backlight.surveys.comparison.measure.comparison import Comparison, measure

__all__ = ["Comparison", "measure"]
