"""What does a simpler backward of the layer norms cost, and does it follow from their Jacobian?"""

from backlight.labs.surrogate_norms.experiment import experiment

__all__ = ["experiment"]
