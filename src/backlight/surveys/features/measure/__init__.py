"""Gradients of dictionary features: the feature pass, and what is added up of it."""

from backlight.surveys.features.measure.setup import FeaturesMeasurement, prepare

__all__ = ["FeaturesMeasurement", "prepare"]
