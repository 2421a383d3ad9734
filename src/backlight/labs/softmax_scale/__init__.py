"""What does 1/sqrt(d) on the scores do to the gradient that goes back through the softmax?"""

from backlight.labs.softmax_scale.experiment import experiment

__all__ = ["experiment"]
