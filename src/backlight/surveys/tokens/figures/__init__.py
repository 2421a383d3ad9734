"""Figures of a tokens run."""

from backlight.surveys.tokens.figures.run import draw as draw
