"""``backlight tokens``: at which token and layer the gradient of an answer sits."""

from backlight.commands.tokens.command import run, tokens

__all__ = ["run", "tokens"]
