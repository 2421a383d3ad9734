"""Which first weights keep activations and gradients alive along depth?"""

from backlight.labs.initialisation.experiment import experiment

__all__ = ["experiment"]
