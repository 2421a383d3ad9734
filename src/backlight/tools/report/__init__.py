"""``backlight report``: every figure of a run, redrawn from disk."""
