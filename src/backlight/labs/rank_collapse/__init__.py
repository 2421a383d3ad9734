"""Why does attention alone not make a deep network, and what do queries and keys learn in one?"""

from backlight.labs.rank_collapse.experiment import experiment

__all__ = ["experiment"]
