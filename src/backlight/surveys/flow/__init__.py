"""``backlight flow``: what happens to the gradient between the loss and the embedding."""
