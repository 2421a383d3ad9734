"""``backlight doctor``: is the gradient of a training healthy, and if not, where and since when."""
