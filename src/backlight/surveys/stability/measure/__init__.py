"""The halves of a run, and how alike they are."""

from backlight.surveys.stability.measure.halves import Stability, measure

__all__ = ["Stability", "measure"]
