"""``backlight train-world``: a small model of a world that is known to the last digit."""
