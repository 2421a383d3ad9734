"""The gradient at every position of structured prompts, at every site, prompt by prompt."""

from backlight.surveys.tokens.measure.setup import TokensMeasurement, TokensPlan, prepare

__all__ = ["TokensMeasurement", "TokensPlan", "prepare"]
