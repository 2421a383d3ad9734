"""Units of a run, changed one by one: what the gradient predicts of it, and what is true."""

from backlight.surveys.validation.measure.setup import ValidationMeasurement, prepare

__all__ = ["ValidationMeasurement", "prepare"]
