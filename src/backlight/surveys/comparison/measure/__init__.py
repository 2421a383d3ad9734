"""What runs say of the same units, and how it differs."""

from backlight.surveys.comparison.measure.comparison import Comparison
from backlight.surveys.comparison.measure.series import Comparisons, measure

__all__ = ["Comparison", "Comparisons", "measure"]
