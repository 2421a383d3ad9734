"""How fast does the gradient shrink or grow on its way back through time?"""

from backlight.labs.recurrence.experiment import experiment

__all__ = ["experiment"]
