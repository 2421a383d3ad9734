"""``backlight train-sae``: a dictionary for a model that has none, in minutes."""

from backlight.commands.train_sae.command import run, train_sae

__all__ = ["run", "train_sae"]
