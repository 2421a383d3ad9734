"""What the page of a comparison shows, of two runs or of a series."""

from backlight.surveys.comparison.page.pairs import views

__all__ = ["views"]
