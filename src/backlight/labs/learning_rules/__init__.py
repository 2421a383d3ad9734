"""How well does each learning rule learn, and how far is it from backpropagation on its way?"""

from backlight.labs.learning_rules.experiment import experiment

__all__ = ["experiment"]
