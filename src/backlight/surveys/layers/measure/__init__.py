"""What the gradient of the loss is at one site of every layer, streamed over a corpus."""

from backlight.surveys.layers.measure.setup import LayersMeasurement, prepare

__all__ = ["LayersMeasurement", "prepare"]
