"""``backlight train-sae``: a dictionary for a model that has none, in minutes."""
