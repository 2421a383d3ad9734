"""Figures of a flow run."""

from backlight.surveys.flow.figures.run import draw as draw
