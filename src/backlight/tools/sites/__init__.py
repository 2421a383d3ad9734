"""``backlight sites``: every site of a model."""
