"""``backlight flow``: what happens to the gradient between the loss and the embedding."""

from backlight.commands.flow.command import flow, run

__all__ = ["flow", "run"]
