"""Why does the place of the norm decide whether a deep transformer needs warm-up?"""

from backlight.labs.norm_placement.experiment import experiment

__all__ = ["experiment"]
