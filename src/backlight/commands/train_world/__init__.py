"""``backlight train-world``: a small model of a world that is known to the last digit."""

from backlight.commands.train_world.command import run, train_world

__all__ = ["run", "train_world"]
