"""``backlight layers``: what the gradient of the loss is at every layer, over a corpus."""
