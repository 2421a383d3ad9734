"""``backlight demo``: the main jobs on a real model, on text that is shipped."""
