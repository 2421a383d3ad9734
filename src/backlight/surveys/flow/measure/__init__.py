"""What norms, attention and residual paths do to the gradient, streamed over a corpus."""

from backlight.surveys.flow.measure.setup import FlowMeasurement, prepare

__all__ = ["FlowMeasurement", "prepare"]
